//! [`Cursor`]: a place in the order of events.

use std::fmt;
use std::str::FromStr;

/// One life of an order of events. Offsets of different epochs cannot be compared; a log that lost events
/// opens a new epoch.
///
/// 1 to 16 of `[0-9a-z]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    text: [u8; 16],
    len: u8,
}

impl Epoch {
    /// Draws an epoch from a random number.
    #[must_use]
    pub fn from_random(random: u64) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut text = [0; 16];
        let mut rest = random;
        for byte in &mut text[..10] {
            *byte = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        Epoch { text, len: 10 }
    }

    /// The string form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits and letters are ever stored.
        std::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl FromStr for Epoch {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = text.as_bytes();
        let valid = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        if bytes.is_empty() || bytes.len() > 16 || !bytes.iter().all(valid) {
            return Err(CursorError);
        }
        let mut epoch = Epoch { text: [0; 16], len: bytes.len() as u8 };
        epoch.text[..bytes.len()].copy_from_slice(bytes);
        Ok(epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in the order of events: `{epoch}-{offset}`, the `id` of Server-Sent Events.
///
/// `[0-9a-z]{1,16}-[0-9a-f]{1,16}`. Opaque to clients; it does show how busy the hub is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    /// The life of the order.
    pub epoch: Epoch,
    /// The last event that is behind this place; 0 is before the first.
    pub offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.epoch, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, offset) = text.split_once('-').ok_or(CursorError)?;
        let valid = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if offset.is_empty() || offset.len() > 16 || !offset.bytes().all(valid) {
            return Err(CursorError);
        }
        let offset = u64::from_str_radix(offset, 16).map_err(|_| CursorError)?;
        Ok(Cursor { epoch: epoch.parse()?, offset })
    }
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: expected `{{epoch}}-{{offset}}`")]
pub struct CursorError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_written() {
        for random in [0, 1, u64::MAX] {
            let cursor = Cursor { epoch: Epoch::from_random(random), offset: random };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "-", "a-", "-1", "a-g", "A-1", "a-1-1", "a-A", "a-+1", "a- 1", "a\u{0}-1", "é-1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
        assert!("a-11111111111111111".parse::<Cursor>().is_err());
        assert!("aaaaaaaaaaaaaaaaa-1".parse::<Cursor>().is_err());
    }
}
