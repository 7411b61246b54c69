//! [`Ticket`]: what the hub and whoever holds a session have in common, in one allocation.

use std::fmt;
use std::sync::Arc;

use super::info::SessionSpan;
use super::signal::Signal;

/// Whose session it is, and how it is told to look.
///
/// It is all that is kept of a session beside its place on the board: what else hooks and operators ask for is
/// looked up where they do.
pub(crate) struct Ticket {
    pub(crate) signal: Signal,
    pub(crate) identity: Option<Arc<str>>,
    pub(crate) span: SessionSpan,
    random: u64,
}

impl Ticket {
    pub(super) fn new(identity: Option<Arc<str>>, random: u64) -> Self {
        Ticket { signal: Signal::new(), identity, span: SessionSpan::default(), random }
    }

    /// The session's name, in this place.
    pub(super) fn id(&self, index: u32) -> SessionId {
        SessionId { random: self.random, index }
    }
}

/// The name that `hello` gives a session: characters that tell it from those that had its place before; behind
/// them the place, by which it is found. No secret: nothing may rest on knowing one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId {
    random: u64,
    pub(super) index: u32,
}

impl SessionId {
    const RANDOM: usize = 16;

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (random, index) = text.split_at_checked(Self::RANDOM)?;
        let random = u64::from_str_radix(random, 16).ok()?;
        let id = SessionId { random, index: u32::from_str_radix(index, 16).ok()? };
        // Numbers have more than one form; a name has one.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$x}{:x}", self.random, self.index, width = Self::RANDOM)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for (random, index) in [(0, 0), (u64::MAX, u32::MAX), (0xabc, 10)] {
            let id = SessionId { random, index };
            assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        }
        let name = SessionId { random: 0xabc, index: 10 }.to_string();
        for other in
            [&name[..16], &name.to_uppercase(), &format!("{}+a", &name[..16]), &format!("{}0a", &name[..16])]
        {
            assert_eq!(SessionId::parse(other), None, "{other}");
        }
    }
}
