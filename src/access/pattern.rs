//! [`Pattern`]: which channels a grant or a policy speaks of.

use crate::name::{self, IntoName, Kind, NameError, Text, name_type};
use crate::{Channel, Scope};

/// A set of channels: `room:42`, `room:*` (exactly one part in place of `*`), `user:7:**` (one or more parts,
/// last place only).
///
/// Where a part comes from data, build the pattern from parts; there `*` is refused.
///
/// ```
/// use tower_revalidate::{Channel, Pattern};
///
/// let mine = Pattern::under(("user", 7))?;
/// assert!(mine.matches(&Channel::parse("user:7:notifications")?));
/// assert!(!mine.matches(&Channel::parse("user:7")?));
/// assert!(!Pattern::parse("room:*")?.matches(&Channel::parse("room:1:typing")?));
/// assert!(Pattern::under(("user", "*")).is_err());
/// # Ok::<(), tower_revalidate::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(pub(crate) Text);

name_type!(Pattern, Kind::Pattern);

impl Pattern {
    /// Exactly the channel named by these parts, or the pattern of a literal.
    ///
    /// # Errors
    /// [`NameError`], see [`IntoName`].
    pub fn new(name: impl IntoName<Pattern>) -> Result<Self, NameError> {
        name.into_name()
    }

    /// Every channel below these parts, at any depth: `x:**`.
    ///
    /// # Errors
    /// [`NameError`], see [`IntoName`].
    pub fn under(name: impl IntoName<Channel>) -> Result<Self, NameError> {
        Self::suffixed(&name.into_name()?, ":**")
    }

    /// Every channel exactly one part below these: `x:*`.
    ///
    /// # Errors
    /// [`NameError`], see [`IntoName`].
    pub fn children(name: impl IntoName<Channel>) -> Result<Self, NameError> {
        Self::suffixed(&name.into_name()?, ":*")
    }

    /// Every channel there is: `**`. For trusted code inside the process.
    #[must_use]
    pub fn any() -> Self {
        Pattern(Text::Static("**"))
    }

    fn suffixed(channel: &Channel, suffix: &str) -> Result<Self, NameError> {
        let text = format!("{channel}{suffix}");
        name::check(&text, Kind::Pattern)?;
        Ok(Pattern(Text::Shared(text.into())))
    }

    /// Whether the channel is in the set.
    #[must_use]
    pub fn matches(&self, channel: &Channel) -> bool {
        let mut pattern = self.as_str().split(':');
        let mut parts = channel.as_str().split(':');
        loop {
            match (pattern.next(), parts.next()) {
                (None, None) => return true,
                (Some("**"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(literal), Some(part)) if literal == part => {}
                _ => return false,
            }
        }
    }

    /// Orders patterns that match one channel: literal parts before `*` before `**`, part by part.
    pub(crate) fn specificity(&self) -> Vec<u8> {
        let rank = |part| match part {
            "**" => 0,
            "*" => 1,
            _ => 2,
        };
        self.as_str().split(':').map(rank).collect()
    }
}

impl From<Channel> for Pattern {
    fn from(channel: Channel) -> Self {
        Pattern(channel.0)
    }
}

/// The scope that [`Grant::user`](crate::Grant::user) gives.
pub(crate) fn user_scope(id: &str) -> Result<Scope, NameError> {
    Scope::new(("user", id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, channel: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&Channel::parse(channel).unwrap())
    }

    #[test]
    fn a_star_is_exactly_one_part() {
        assert!(matches("room:*", "room:1"));
        assert!(!matches("room:*", "room"));
        assert!(!matches("room:*", "room:1:2"));
        assert!(matches("room:*:typing", "room:1:typing"));
        assert!(matches("user:1:**", "user:1:a"));
        assert!(matches("user:1:**", "user:1:a:b"));
        assert!(!matches("user:1:**", "user:1"));
        assert!(!matches("user:1:**", "user:10:a"));
        assert!(matches("**", "anything:at:all"));
    }

    #[test]
    fn parts_never_become_wildcards() {
        for part in ["*", "**", "a:b", "", "a,b", "a\nb", "a\0b", "\u{85}"] {
            assert!(Pattern::new(("room", part)).is_err(), "{part:?}");
            assert!(Pattern::under(("room", part)).is_err(), "{part:?}");
            assert!(Scope::new(("room", part)).is_err(), "{part:?}");
            assert!(Channel::new(("room", part)).is_err(), "{part:?}");
        }
        assert!(Pattern::parse("a:**:b").is_err());
        assert!(Pattern::parse("a:b*").is_err());
    }

    #[test]
    fn the_const_check_agrees_with_the_other() {
        let texts =
            ["room:1", "", ":", "a:", "a*", "a,b", "a\u{85}b", "a\u{e9}", "a\u{7f}", "a:b:c", "\u{c2}x"];
        for text in texts {
            assert_eq!(name::is_literal(text), name::check(text, Kind::Plain).is_ok(), "{text:?}");
        }
    }
}
