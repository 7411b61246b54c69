//! [`Short`]: a number that takes less room than it might.

/// Milliseconds, or an offset for the figures, in five bytes. What does not fit, 34 years or a million millions of events,
/// reads as [`u64::MAX`]: never.
#[derive(Clone, Copy)]
pub(super) struct Short([u8; 5]);

impl Short {
    pub(super) const ZERO: Short = Short([0; 5]);
    pub(super) const NEVER: Short = Short([u8::MAX; 5]);

    pub(super) fn new(number: u64) -> Self {
        match number.to_le_bytes() {
            [a, b, c, d, e, 0, 0, 0] => Short([a, b, c, d, e]),
            _ => Short::NEVER,
        }
    }

    pub(super) fn get(self) -> u64 {
        let Short([a, b, c, d, e]) = self;
        let number = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
        if number == (1 << 40) - 1 { u64::MAX } else { number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_comes_back_and_the_rest_is_never() {
        for number in [0, 1, 255, 256, 15_000, u64::from(u32::MAX), (1 << 40) - 2] {
            assert_eq!(Short::new(number).get(), number);
        }
        for number in [(1 << 40) - 1, 1 << 40, u64::MAX] {
            assert_eq!(Short::new(number).get(), u64::MAX);
        }
        assert_eq!((Short::ZERO.get(), Short::NEVER.get()), (0, u64::MAX));
    }
}
