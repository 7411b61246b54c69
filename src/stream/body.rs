//! [`SseBody`]: a session as the body of a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

use super::own::{Own, OwnRead};
use crate::Cursor;
use crate::hub::{ByeReason, HubSession, Read};
use crate::proto::{Batch, Names, Opening, Posted};
use crate::sse::{Bye, Denied, Encoder, Gap, Hello, Revalidated};

/// The body of a stream of Server-Sent Events, and of the service's other answers.
///
/// A [`Body`](http_body::Body) and a [`Stream`](futures_core::Stream) of chunks, `Send`, `Sync` and `Unpin`, so that every framework can take it.
/// Dropping it closes the session.
#[must_use]
pub struct SseBody(Inner);

enum Inner {
    Done,
    Once(Bytes),
    Live(Live),
    Own(Box<Own>),
}

/// An open stream.
struct Live {
    session: HubSession,
    /// Until `hello` was written.
    greeting: Option<Box<Greeting>>,
}

/// What `hello` says beside what is read with it.
struct Greeting {
    denied: Vec<Denied>,
    /// The cursor that the client came with.
    came_with: Option<Cursor>,
    retry_ms: u64,
}

impl SseBody {
    pub(crate) fn empty() -> Self {
        SseBody(Inner::Done)
    }

    pub(crate) fn once(bytes: impl Into<Bytes>) -> Self {
        SseBody(Inner::Once(bytes.into()))
    }

    pub(super) fn own(own: Own) -> Self {
        SseBody(Inner::Own(Box::new(own)))
    }

    pub(crate) fn live(
        session: HubSession,
        denied: Vec<Denied>,
        came_with: Option<Cursor>,
        retry_ms: u64,
    ) -> Self {
        let greeting = Some(Box::new(Greeting { denied, came_with, retry_ms }));
        SseBody(Inner::Live(Live { session, greeting }))
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let bytes = match &mut self.0 {
            Inner::Done => return Poll::Ready(None),
            Inner::Once(bytes) => std::mem::take(bytes),
            Inner::Live(live) => match std::task::ready!(live.poll_bytes(cx)) {
                Read::Batch(bytes) => return Poll::Ready(Some(bytes)),
                Read::Ended(reason, retry) => {
                    let came_with = live.greeting.as_ref().and_then(|greeting| greeting.came_with);
                    let bytes = goodbye(came_with, reason, retry.map(u64::from));
                    live.session.shared().metrics.wrote_bye(bytes.len());
                    bytes
                }
            },
            Inner::Own(own) => match std::task::ready!(own.poll(cx)) {
                OwnRead::Chunk(bytes) => return Poll::Ready(Some(bytes)),
                OwnRead::Last(bytes) => bytes,
            },
        };
        // The session closes here, not when the peer has read the rest.
        self.0 = Inner::Done;
        Poll::Ready(Some(bytes))
    }
}

/// The last frame of a stream. Where it is the first, too, it repeats the cursor that the client came with: some
/// clients take an event without an id for the end of theirs, and would come back fresh.
pub(super) fn goodbye(came_with: Option<Cursor>, reason: ByeReason, retry_ms: Option<u64>) -> Bytes {
    let mut out = Encoder::default();
    if let Some(retry_ms) = retry_ms {
        out.retry(retry_ms);
    }
    out.event(came_with, "bye", &Bye { reason: reason.as_str() });
    out.finish()
}

/// What a batch holds behind the opening and the keys. An id stands only behind everything that it acknowledges
/// (PROTOCOL R1); `written` is the last one that stands in the stream, as far as this batch knows.
pub(super) fn write_rest(
    batch: &Batch,
    out: &mut Encoder,
    mut written: Option<u64>,
    put: impl Fn(&mut Encoder, &Posted, bool),
) {
    batch.current.iter().for_each(|posted| put(out, posted, false));
    if let Some(gap) = &batch.gap {
        let id = batch.cursor.filter(|_| batch.messages.is_empty());
        let data = Gap { reason: gap.reason, channels: gap.channels.as_deref(), spread_ms: gap.spread_ms };
        out.event(id, "gap", &data);
        written = id.map(|id| id.offset).or(written);
    }
    for posted in batch.messages.iter() {
        put(out, posted, true);
        written = Some(posted.offset).filter(|_| posted.id_len > 0).or(written);
    }
    match batch.cursor {
        Some(cursor) if batch.heartbeat || written != Some(cursor.offset) => out.cursor(cursor),
        // It lags, or waits: nothing may be acknowledged, and the connection is alive.
        None if batch.heartbeat => out.comment(),
        _ => {}
    }
}

impl Live {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Read<Bytes>> {
        let Live { session, greeting } = self;
        session.poll_read(cx, |batch| {
            let bytes = match batch.only_frames() {
                Some(frames) => frames.clone(),
                None => encode(session, greeting, batch),
            };
            session.shared().metrics.wrote(batch, bytes.len());
            bytes
        })
    }
}

/// One batch, one write. An id stands only behind everything that it acknowledges (PROTOCOL R1).
fn encode(session: &HubSession, greeting: &mut Option<Box<Greeting>>, batch: &Batch) -> Bytes {
    let mut out = Encoder::default();
    // The last offset that stands in the stream as an id, as far as this batch knows.
    let mut written = None;
    match (&batch.opening, greeting.as_deref()) {
        (Some(Opening::Waiting), Some(greeting)) => {
            out.retry(greeting.retry_ms);
            out.comment();
        }
        (Some(Opening::Hello { id, resumed, spread_ms, names }), Some(Greeting { denied, retry_ms, .. })) => {
            out.retry(*retry_ms);
            out.event(*id, "hello", &hello(session, *resumed, *spread_ms, names, denied));
            written = id.map(|id| id.offset);
            *greeting = None;
        }
        _ => {}
    }
    let followed = batch.gap.is_some() || !batch.messages.is_empty();
    if !batch.keys.is_empty() {
        let id = batch.cursor.filter(|_| !followed);
        let data = Revalidated { keys: &batch.keys, origin: batch.origin, spread_ms: batch.keys_spread_ms };
        out.event(id, "revalidate", &data);
        written = id.map(|id| id.offset).or(written);
    }
    write_rest(batch, &mut out, written, |out, posted, has_id| {
        out.frame(if has_id { &posted.frame } else { posted.bare() });
    });
    out.finish()
}

fn hello<'a>(
    session: &HubSession,
    resumed: bool,
    spread_ms: u64,
    names: &'a Names,
    denied: &'a [Denied],
) -> Hello<'a> {
    let shared = session.shared();
    Hello {
        session: session.id().to_string(),
        resumed,
        live: true,
        heartbeat_ms: shared.board.options().heartbeat,
        spread_ms,
        max_attempts: shared.options.max_attempts,
        channels: &names.channels,
        presence: &names.presence,
        denied,
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_bytes(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Done => SizeHint::with_exact(0),
            Inner::Once(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Live(_) | Inner::Own(_) => SizeHint::default(),
        }
    }
}

impl Stream for SseBody {
    type Item = Result<Bytes, Infallible>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_bytes(cx).map(|bytes| bytes.map(Ok))
    }
}

impl std::fmt::Debug for SseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.0 {
            Inner::Done => "done",
            Inner::Once(_) => "once",
            Inner::Live(_) | Inner::Own(_) => "live",
        };
        f.debug_tuple("SseBody").field(&kind).finish()
    }
}

/// Frameworks ask for these; a body that loses one breaks some of them.
const fn assert_auto_traits<T: Send + Sync + Unpin + 'static>() {}
const _: () = assert_auto_traits::<SseBody>();
const _: () = assert!(size_of::<SseBody>() <= 40);
