//! [`Input`]: bytes, read as choices. The same bytes make the same case, whoever draws them: proptest, which
//! shrinks them, or libFuzzer, which breeds them.

use serde_json::{Map, Value, json};

/// What means something to some parser, or did to some parser once.
const WILD: [&str; 28] = [
    ":",
    "*",
    "**",
    ",",
    "%",
    "&",
    "=",
    "+",
    "-",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\t",
    " ",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{feff}",
    "\u{2028}",
    "\u{202e}é",
    "😀",
    "\"",
    "\\",
    "data: x\n\n",
    "id: a-1\n",
    "18446744073709551616",
    "ffffffffffffffff",
];

/// Choices; once they are used up, each is the first one.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn pick<'b, T: ?Sized>(&mut self, of: &[&'b T]) -> &'b T {
        of[self.below(of.len())]
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// What is left, as it is.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Near something, or at the end of what numbers there are.
    pub fn number(&mut self, near: u64) -> u64 {
        let some = u64::from(self.byte());
        match self.below(8) {
            0 | 1 => near.saturating_add(some % 4),
            2 | 3 => near.saturating_sub(some % 8),
            4 => some,
            5 => u64::MAX - some % 3,
            6 => 1 << (some % 64),
            _ => some << 32 | u64::from(self.byte()),
        }
    }

    /// Pieces in a row, and what becomes of such in wrong hands: cut, doubled, overwritten, mixed with what is
    /// none of them.
    pub fn soup(&mut self, pieces: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(10) {
            self.stir(&mut out, pieces);
        }
        out
    }

    pub fn text(&mut self, pieces: &[&str]) -> String {
        String::from_utf8_lossy(&self.soup(pieces)).into_owned()
    }

    /// One change of what is there.
    pub fn stir(&mut self, out: &mut Vec<u8>, pieces: &[&str]) {
        let at = self.below(out.len().clamp(1, 255));
        match self.below(16) {
            0..=7 => out.extend_from_slice(self.pick(pieces).as_bytes()),
            8 | 9 => out.extend_from_slice(self.pick(&WILD).as_bytes()),
            10 => out.push(self.byte()),
            11 => out.truncate(at),
            12 if out.len() < 10_000 => out.extend_from_within(at..),
            13 if out.len() < 10_000 => {
                let piece = self.pick(pieces);
                let times = [40, 40, 40, 300][self.below(4)];
                (0..times).for_each(|_| out.extend_from_slice(piece.as_bytes()));
            }
            14 => {
                let piece = self.pick(pieces).as_bytes();
                let end = (at + piece.len()).min(out.len());
                out.splice(at.min(out.len())..end, piece.iter().copied());
            }
            _ => {
                let point = u32::from_be_bytes([0, self.byte() % 0x11, self.byte(), self.byte()]);
                out.extend(char::from_u32(point).map(String::from).unwrap_or_default().bytes());
            }
        }
    }

    /// Any JSON.
    pub fn json(&mut self, depth: usize) -> Value {
        const WORDS: [&str; 6] = ["a", "posts", "list", "\"", "\\u0000", "x"];
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => self.once_in(2).into(),
            2 => self.number(0).into(),
            3 => (self.number(0) as i64).wrapping_neg().into(),
            4 => json!(f64::from_bits(self.number(0).rotate_left(40))),
            5 => self.text(&WORDS).into(),
            6 => (0..self.below(4)).map(|_| self.json(depth - 1)).collect(),
            7 => {
                let deep = if self.once_in(8) { self.below(100) } else { self.below(4) };
                (0..deep).fold(Value::Null, |inner, _| json!([inner]))
            }
            _ => {
                let members = (0..self.below(4)).map(|_| (self.text(&WORDS), self.json(depth - 1)));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

/// The members of objects in the order of their names: whether `serde_json` keeps another one depends on who
/// else is in the build.
pub fn sorted(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let member = |(name, value)| format!("{}:{}", Value::String(String::clone(name)), sorted(value));
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}
