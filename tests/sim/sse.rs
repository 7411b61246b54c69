//! A parser of Server-Sent Events, as WHATWG HTML 9.2.6 has it, fed by pieces of any size.

/// What stood between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) comments: Vec<String>,
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    block: Block,
}

impl Parser {
    /// The blocks that these bytes complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' if self.line.is_empty() => {
                    let block = std::mem::take(&mut self.block);
                    if block != Block::default() {
                        blocks.push(block);
                    }
                }
                b'\r' | b'\n' => self.end_line(),
                byte => self.line.push(*byte),
            }
        }
        blocks
    }

    /// Nothing is left over.
    pub(crate) fn is_between_blocks(&self) -> bool {
        self.line.is_empty() && self.block == Block::default()
    }

    fn end_line(&mut self) {
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("a stream is UTF-8");
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => self.block.comments.push(value),
            "id" if !value.contains('\0') => self.block.id = Some(value),
            "event" => self.block.event = Some(value),
            "retry" => self.block.retry = value.parse().ok(),
            "data" => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                none => *none = Some(value),
            },
            _ => {}
        }
    }
}
