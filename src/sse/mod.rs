//! The encoder: frames of Server-Sent Events to bytes, nothing else (WHATWG HTML, 9.2.5 and 9.2.6).
//!
//! A frame is a block of `field: value` lines that an empty line ends. Data is split at every line ending that
//! a parser knows (CR, LF, CRLF), so that no payload can end a line, let alone forge a field; ids and names
//! are checked types that hold none.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use crate::{Channel, Cursor, GapReason, Origin, QueryKey};

/// Frames as they are put together.
#[derive(Default)]
pub(crate) struct Encoder {
    out: BytesMut,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hello<'a> {
    pub(crate) session: String,
    pub(crate) resumed: bool,
    pub(crate) live: bool,
    pub(crate) heartbeat_ms: u64,
    pub(crate) spread_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<u32>,
    pub(crate) channels: &'a [Channel],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) presence: &'a [Channel],
    pub(crate) denied: &'a [Denied],
}

/// A channel that was asked for and is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Denied {
    /// The name, as the client gave it.
    pub channel: String,
    /// `accessdenied`, or `malformed` where it is not a name; of a presence, also what a handler of `join` said, and
    /// `crosssite` where a page of another site asked in the user's name.
    pub code: std::borrow::Cow<'static, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revalidated<'a> {
    pub(crate) keys: &'a [QueryKey],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
    pub(crate) spread_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gap<'a> {
    pub(crate) reason: GapReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<&'a [Channel]>,
    pub(crate) spread_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct Bye {
    pub(crate) reason: &'static str,
}

impl Encoder {
    /// How long the client waits before it connects again.
    pub(crate) fn retry(&mut self, millis: u64) {
        self.put(format_args!("retry: {millis}\n"));
    }

    /// An event whose data is JSON of ours.
    pub(crate) fn event(&mut self, id: Option<Cursor>, name: &str, data: &impl Serialize) {
        // Plain structs of strings and numbers always serialise; an empty object is still a valid frame.
        self.raw(id, name, &serde_json::to_vec(data).unwrap_or_else(|_| b"{}".to_vec()));
    }

    /// An event of the app's, under its own name; `data` as it is.
    pub(crate) fn raw(&mut self, id: Option<Cursor>, name: &str, data: &[u8]) {
        if let Some(id) = id {
            self.id(id);
        }
        self.put(format_args!("event: {name}\n"));
        self.data(data);
        self.out.put_u8(b'\n');
    }

    /// A frame that was encoded before.
    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    /// Comment and bare id in one block: the id moves a native `EventSource` without an event, the comment
    /// speaks to parsers that report ids only with data.
    pub(crate) fn cursor(&mut self, id: Cursor) {
        self.put(format_args!(": {id}\nid: {id}\n\n"));
    }

    /// A comment without a word: bytes that prove the connection alive.
    pub(crate) fn comment(&mut self) {
        self.out.extend_from_slice(b":\n\n");
    }

    pub(crate) fn finish(self) -> Bytes {
        self.out.freeze()
    }

    fn id(&mut self, id: Cursor) {
        let mut digits = [0; 16];
        let mut first = digits.len();
        let mut rest = id.offset;
        while rest > 0 || first == digits.len() {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(rest % 16) as usize];
            rest /= 16;
        }
        self.out.extend_from_slice(b"id: ");
        self.out.extend_from_slice(id.epoch.as_str().as_bytes());
        self.out.put_u8(b'-');
        self.out.extend_from_slice(&digits[first..]);
        self.out.put_u8(b'\n');
    }

    /// A string of JSON. Most need no escape.
    fn json_text(&mut self, text: &str) {
        if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            // A string always serialises.
            let _ = serde_json::to_writer((&mut self.out).writer(), text);
            return;
        }
        self.out.put_u8(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.put_u8(b'"');
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a growing buffer does not fail.
        let _ = self.out.write_fmt(text);
    }

    fn data(&mut self, data: &[u8]) {
        for line in lines(data) {
            self.out.extend_from_slice(b"data: ");
            self.out.extend_from_slice(line);
            self.out.put_u8(b'\n');
        }
    }
}

/// The lines of a payload, at CR, LF and CRLF. Nothing is one empty line.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        match data.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            None => {
                rest = None;
                Some(data)
            }
            Some(end) => {
                let crlf = data[end] == b'\r' && data.get(end + 1) == Some(&b'\n');
                rest = Some(&data[end + if crlf { 2 } else { 1 }..]);
                Some(&data[..end])
            }
        }
    })
}

/// A message on a channel, encoded.
pub(crate) struct MessageFrame {
    pub(crate) frame: Bytes,
    /// The payload, a slice of the frame.
    pub(crate) data: Bytes,
    /// The length of the id in front.
    pub(crate) id_len: u16,
}

/// Encodes a message. `data` is JSON, where a line ending can only be white space between tokens; it becomes a
/// blank, so that the payload stays one piece.
pub(crate) fn message(id: Option<Cursor>, channel: &Channel, event: &str, data: &str) -> MessageFrame {
    let mut encoder = Encoder { out: BytesMut::with_capacity(data.len() + event.len() + 128) };
    if let Some(id) = id {
        encoder.id(id);
    }
    let id_len = encoder.out.len() as u16;
    encoder.out.extend_from_slice(b"event: message\ndata: {\"channel\":");
    encoder.json_text(channel.as_str());
    encoder.out.extend_from_slice(b",\"event\":");
    encoder.json_text(event);
    encoder.out.extend_from_slice(b",\"data\":");
    let start = encoder.out.len();
    encoder.out.extend_from_slice(data.as_bytes());
    // Without a branch, so that it goes many bytes at a time.
    for byte in &mut encoder.out[start..] {
        *byte = if matches!(*byte, b'\r' | b'\n') { b' ' } else { *byte };
    }
    let end = encoder.out.len();
    encoder.out.extend_from_slice(b"}\n\n");
    let frame = encoder.finish();
    let data = frame.slice(start..end);
    MessageFrame { frame, data, id_len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    fn text(encoder: Encoder) -> String {
        String::from_utf8(encoder.finish().to_vec()).unwrap()
    }

    #[test]
    fn data_is_split_at_every_line_ending() {
        let mut encoder = Encoder::default();
        encoder.data(b"a\rid: 1\nb\r\nevent: x\n\nc");
        assert_eq!(text(encoder), "data: a\ndata: id: 1\ndata: b\ndata: event: x\ndata: \ndata: c\n");
    }

    #[test]
    fn a_message_keeps_its_payload_in_one_piece() {
        let id = Cursor { epoch: Epoch::from_random(7), offset: 0x2b };
        let channel = Channel::parse("room:42").unwrap();
        let MessageFrame { frame, data, .. } = message(Some(id), &channel, "new_message", "{\"a\":\r\n1}");
        let frame = String::from_utf8(frame.to_vec()).unwrap();
        assert_eq!(
            frame,
            format!(
                "id: {id}\nevent: message\n\
                 data: {{\"channel\":\"room:42\",\"event\":\"new_message\",\"data\":{{\"a\":  1}}}}\n\n"
            )
        );
        assert_eq!(&data[..], b"{\"a\":  1}");
    }

    #[test]
    fn an_id_is_the_cursor_as_it_is_displayed() {
        for offset in [0, 1, 0xf, 0x10, 0xabc_def0, u64::MAX] {
            let id = Cursor { epoch: Epoch::from_random(offset), offset };
            let mut encoder = Encoder::default();
            encoder.id(id);
            assert_eq!(text(encoder), format!("id: {id}\n"));
        }
    }

    #[test]
    fn a_name_is_escaped_as_json_has_it() {
        let controls: String = (0..0x20_u8).map(char::from).collect();
        for name in ["", "room:42", "é\u{7f}\u{85}\u{2028}😀", "\"", "\\", "a\"b\\c", &controls] {
            let mut encoder = Encoder::default();
            encoder.json_text(name);
            assert_eq!(text(encoder), serde_json::to_string(name).unwrap());
        }
    }

    #[test]
    fn a_heartbeat_is_a_comment_and_a_bare_id() {
        let id: Cursor = "k3f9a2-31".parse().unwrap();
        let mut encoder = Encoder::default();
        encoder.cursor(id);
        encoder.comment();
        assert_eq!(text(encoder), ": k3f9a2-31\nid: k3f9a2-31\n\n:\n\n");
    }
}
