//! The model client: reads the bytes of real bodies when its waker fired, is cut, comes back, and switches
//! channels make-before-break (PROTOCOL R12).
//!
//! It also keeps a [`Notebook`] of what it was told over all of its streams, so that what only shows across
//! them is seen: a message twice, or never.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http_body::Body as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;
use tower_revalidate::{Cursor, SseBody};

use super::checker::{Millis, Moment, Session};
use super::ledger::{Ledger, What, serial};
use super::sse::{Block, Parser};
use super::world::{Access, Keep, keep};

/// A waker that only remembers. A fresh one now and then finds who wakes an old one.
#[derive(Debug)]
pub(crate) struct Flag {
    woken: AtomicBool,
    since: Mutex<Instant>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            *self.since.lock() = Instant::now();
        }
    }
}

impl Flag {
    /// Woken, as everything is that was never polled.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Flag { woken: AtomicBool::new(true), since: Mutex::new(Instant::now()) })
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    pub(crate) fn idle(&self) -> Millis {
        let since = Some(*self.since.lock()).filter(|_| self.is_woken());
        since.map_or(0, |since| since.elapsed().as_millis() as Millis)
    }

    /// The waker for the next poll; `anew` leaves the old one behind.
    pub(crate) fn rearm(this: &mut Arc<Self>, anew: bool) -> Waker {
        if anew {
            *this = Flag::new();
        }
        this.woken.store(false, Ordering::Release);
        this.clone().into()
    }
}

/// Where a client writes down what it read.
pub(crate) type Note<'a> = &'a mut dyn FnMut(&dyn Fn() -> String);

/// One connection, the checker at its server's end and a parser at its client's.
pub(crate) struct Stream {
    pub(crate) node: usize,
    body: SseBody,
    flag: Arc<Flag>,
    pub(crate) session: Session,
    parser: Parser,
    asked: Vec<String>,
    /// Those that were granted, and how.
    follows: Vec<(String, Access)>,
    /// The connection breaks after so many more bytes.
    pub(crate) cut_after: Option<usize>,
    greeted: bool,
}

impl Stream {
    pub(crate) fn new(
        node: usize,
        body: SseBody,
        session: Session,
        asked: Vec<String>,
        follows: Vec<(String, Access)>,
    ) -> Self {
        let (flag, parser) = (Flag::new(), Parser::default());
        Stream { node, body, flag, session, parser, asked, follows, cut_after: None, greeted: false }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.is_woken()
    }

    pub(crate) fn idle(&self) -> Millis {
        self.flag.idle()
    }

    /// Polls once. What arrived at the client before the cut, and whether the connection is over.
    fn poll(&mut self, now: Moment, anew: bool, truth: &Ledger, note: Note<'_>) -> (Vec<Block>, bool) {
        let waker = Flag::rearm(&mut self.flag, anew);
        let polled = Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker));
        let frame = match polled {
            Poll::Pending => return (Vec::new(), false),
            Poll::Ready(None) => {
                assert!(self.session.is_over(), "the stream ended without a word");
                return (Vec::new(), true);
            }
            Poll::Ready(Some(frame)) => frame,
        };
        // There may be more.
        waker.wake();
        let Ok(frame) = frame;
        let bytes = frame.into_data().expect("frames of data");
        note(&|| {
            format!("{} at {}: {}", bytes.len(), now.known, String::from_utf8_lossy(&bytes).escape_debug())
        });
        self.session.wrote(&bytes, now, truth);
        let arrived = self.cut_after.map_or(bytes.len(), |left| left.min(bytes.len()));
        let is_cut = match &mut self.cut_after {
            Some(left) => {
                *left -= arrived;
                *left == 0
            }
            None => false,
        };
        (self.parser.feed(&bytes[..arrived]), is_cut)
    }
}

/// What a client was told, over all of its streams.
#[derive(Default)]
struct Notebook {
    epoch: Option<tower_revalidate::Epoch>,
    /// From where on it follows each channel; what is at or before was covered.
    since: BTreeMap<String, u64>,
    applied: BTreeSet<u64>,
}

impl Notebook {
    /// It refetched everything, and stands here.
    fn start_over(&mut self, at: Cursor, follows: &[(String, Access)]) {
        self.epoch = Some(at.epoch);
        self.since = follows.iter().map(|(name, _)| (name.clone(), at.offset)).collect();
        self.applied.clear();
    }

    /// Now it follows these; what is new among them from this cursor on.
    fn follow(&mut self, from: Cursor, follows: &[(String, Access)]) {
        let since = |name: &String| (name.clone(), self.since.get(name).copied().unwrap_or(from.offset));
        self.since = follows.iter().map(|(name, _)| since(name)).collect();
    }

    fn apply(&mut self, at: Cursor) {
        if self.epoch == Some(at.epoch) {
            assert!(self.applied.insert(at.offset), "the client was told {at} twice");
        }
    }
}

pub(crate) struct Client {
    pub(crate) user: usize,
    pub(crate) channels: Vec<String>,
    /// What a WHATWG parser would send as `Last-Event-ID`.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) stream: Option<Stream>,
    /// The next stream, till its `hello`.
    pub(crate) next: Option<Stream>,
    /// What the old stream brought since the next one was opened.
    since_switch: HashSet<Cursor>,
    /// What old streams brought after the cursors that their successors were opened with: it comes again.
    heard_on_old: HashSet<Cursor>,
    notebook: Notebook,
    /// It only sends cursors that it was given.
    pub(crate) is_honest: bool,
    pub(crate) is_reading: bool,
    /// A stream of it broke in the middle.
    pub(crate) was_cut: bool,
}

impl Client {
    pub(crate) fn new(user: usize) -> Self {
        Client {
            user,
            channels: Vec::new(),
            cursor: None,
            stream: None,
            next: None,
            since_switch: HashSet::new(),
            heard_on_old: HashSet::new(),
            notebook: Notebook::default(),
            is_honest: true,
            is_reading: true,
            was_cut: false,
        }
    }

    /// A page was rendered with this cursor: the stream opens there.
    pub(crate) fn start_from_page(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor);
        self.heard_on_old.clear();
        self.notebook = Notebook::default();
    }

    pub(crate) fn adopt(&mut self, stream: Stream) {
        self.channels.clone_from(&stream.asked);
        self.stream = Some(stream);
        self.next = None;
        self.since_switch.clear();
    }

    /// Opens the next stream beside the one it has. What the old one brings from now on is noted.
    pub(crate) fn switch_to(&mut self, next: Stream) {
        self.next = Some(next);
        self.since_switch.clear();
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.stream.iter().chain(&self.next).any(Stream::is_woken)
    }

    pub(crate) fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.stream.iter_mut().chain(&mut self.next)
    }

    /// Its task is polled next for a reason of its own.
    pub(crate) fn wake(&mut self) {
        self.streams().for_each(|stream| stream.flag.clone().wake());
    }

    /// Polls its streams while they are woken, at most `polls` times each.
    pub(crate) fn read(
        &mut self,
        polls: usize,
        moment: impl Fn(&Stream) -> Moment,
        anew: bool,
        truth: &Ledger,
        note: Note<'_>,
    ) {
        for _ in 0..polls {
            let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_woken()) else { break };
            let (blocks, over) = stream.poll(moment(stream), anew, truth, note);
            let known = moment(stream).known;
            self.was_cut |= stream.cut_after == Some(0);
            for block in blocks {
                self.receive_on_current(&block, known);
            }
            if over {
                self.stream = None;
            }
        }
        for _ in 0..polls {
            let Some(mut next) = self.next.take_if(|stream| stream.is_woken()) else { break };
            let (blocks, over) = next.poll(moment(&next), anew, truth, note);
            let known = moment(&next).known;
            let mut blocks = blocks.into_iter();
            let greets = |block: &Block| block.event.as_deref() == Some("hello");
            let hello = blocks.by_ref().find(greets);
            if let Some(hello) = hello {
                // Make before break: only now the old one goes.
                self.heard_on_old.extend(self.since_switch.drain());
                self.adopt(next);
                self.receive_on_current(&hello, known);
                blocks.for_each(|block| self.receive_on_current(&block, known));
                if over {
                    self.stream = None;
                }
                break;
            }
            // One that fails before its `hello` leaves the old one as it was.
            self.next = Some(next).filter(|_| !over);
        }
    }

    fn receive_on_current(&mut self, block: &Block, known: Cursor) {
        let data: Value =
            block.data.as_deref().map(|data| serde_json::from_str(data).expect("JSON")).unwrap_or_default();
        let id: Option<Cursor> = block.id.as_ref().map(|id| id.parse().expect("a cursor"));
        let Some(stream) = &mut self.stream else { return };
        match block.event.as_deref() {
            Some("hello") => {
                let resumed = data["resumed"] == true;
                stream.greeted = true;
                match id {
                    Some(id) if resumed && self.notebook.epoch == Some(id.epoch) => {
                        self.notebook.follow(id, &stream.follows);
                    }
                    Some(id) => self.notebook.start_over(id, &stream.follows),
                    None => {}
                }
                if !resumed {
                    self.heard_on_old.clear();
                }
            }
            Some("message") => {
                let Some(id) = id else { return };
                if self.is_honest && !self.drops(id) {
                    self.notebook.apply(id);
                }
                if self.next.is_some() {
                    self.since_switch.insert(id);
                }
            }
            Some("gap") => match data.get("channels").and_then(Value::as_array) {
                Some(channels) => {
                    for channel in channels.iter().filter_map(Value::as_str) {
                        self.notebook.since.insert(channel.to_owned(), known.offset);
                    }
                }
                None => {
                    self.notebook.start_over(known, &stream.follows);
                    self.heard_on_old.clear();
                }
            },
            _ => {}
        }
        self.cursor = id.or(self.cursor);
    }

    /// R12: by id only. An id that is merely lower may be of a channel that the old stream did not have.
    fn drops(&self, id: Cursor) -> bool {
        self.heard_on_old.contains(&id)
    }

    /// Nothing moves any more: was it told everything, over all of its streams?
    pub(crate) fn settled(&self, known: Cursor, truth: &Ledger) {
        let Some(stream) = self.stream.as_ref().filter(|stream| self.is_honest && stream.greeted) else {
            return;
        };
        if self.notebook.epoch != Some(known.epoch) {
            return;
        }
        for (name, access) in stream.follows.iter().filter(|(name, _)| keep(name) == Keep::History) {
            let mut since = self.notebook.since.get(name).copied().unwrap_or_default();
            if let Access::Since(granted) = access
                && granted.epoch == known.epoch
            {
                since = since.max(granted.offset);
            }
            for (offset, what) in truth.range(known.epoch, since, known.offset) {
                if let What::Message { channel, data, .. } = what
                    && channel == name
                {
                    let number = serial(data);
                    assert!(
                        self.notebook.applied.contains(&offset),
                        "the client was never told {number} at {offset:x} on {channel}"
                    );
                }
            }
        }
    }
}
