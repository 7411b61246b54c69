//! [`OwnStream`]: a stream that a handler answers with itself.
//!
//! An endpoint of the app's, guarded by the app's own middleware and authorised by its own code: it sends what
//! there is, then what is published on channels of its choice. The browser needs nothing but an `EventSource`: the
//! events have the names they were published under and their payloads as data, without the envelope of the mount.
//!
//! ```
//! use axum::extract::{Path, State};
//! use axum::response::IntoResponse;
//! use http::request::Parts;
//! use tower_revalidate::{Hub, StreamError};
//! # struct Rows; impl Rows { async fn newest(&self, _: u64) -> Vec<String> { vec![] } }
//!
//! async fn messages(State(hub): State<Hub>, Path(room): Path<u64>, parts: Parts) -> Result<impl IntoResponse, StreamError> {
//!     # let db = Rows;
//!     let mut stream = hub.stream(&parts, [("room", room)])?; // it has its place in the order from here on …
//!     if !stream.resumed() {
//!         stream.send("messages", &db.newest(room).await)?; // … so that nothing is missed behind what was read here
//!     }
//!     Ok(stream)
//! }
//! ```
//!
//! **The border** between what the handler read and what the stream brings is *at least once*: a row that was
//! committed before the handler read it and published afterwards comes twice. Nothing is missed, as long as the
//! query reads a state at least as new as the call of [`Hub::stream`] (a primary, or a replica that caught up). So
//! events carry the record's id, and its version if it changes, and the page folds by them.
//!
//! **Coming back.** An `EventSource` that was cut comes back with its place, and hears what it missed;
//! [`resumed`](OwnStream::resumed) is true, and there is nothing to send. Where that is not possible any more, or
//! something of it is not kept, it is false, and what the handler sends is the new beginning. A stream that falls
//! behind what is kept while it is open hears an event `gap`: open it anew (`es.close()`, then a new one).

use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Response};
use parking_lot::Mutex;
use serde::Serialize;

use super::body::write_rest;
use super::{SseBody, start, with_headers};
use crate::event::EventName;
use crate::hub::{Ask, Farewell, HubSession, Kind, Opened, Read, Seen, SessionInfo, Signal, Ticket, guarded};
use crate::proto::{Batch, Opening, Posted, Start};
use crate::sse::Encoder;
use crate::{Channel, Cursor, Grant, Hub, IntoName, SubscribeError};

/// How many bytes wait in a stream for its client, of what is sent to it alone.
const QUEUE: usize = 64 << 10;

/// A stream of a handler's own; of [`Hub::stream`].
#[must_use = "answer with it"]
pub struct OwnStream {
    /// None: the request was a HEAD, which opens nothing.
    open: Option<Open>,
    first: Encoder,
}

struct Open {
    session: HubSession,
    /// Whom `on_connect` is told of; until the first poll.
    info: Option<Box<SessionInfo>>,
    grant: Grant,
    resumed: bool,
    joins: Vec<Channel>,
    queue: Arc<Mutex<Queue>>,
}

/// What is sent to this session alone and waits to be written.
#[derive(Default)]
struct Queue {
    frames: BytesMut,
    closed: bool,
}

/// Sends to one stream of a handler's, from anywhere, for as long as it is open; of [`OwnStream::handle`].
#[derive(Clone)]
pub struct StreamHandle {
    queue: Arc<Mutex<Queue>>,
    ticket: Option<Arc<Ticket>>,
}

/// Why something was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The name is empty, over 128 bytes, holds a control character, or is one that the protocol itself uses.
    #[error("{0:?} is not the name of an event")]
    EventName(String),
    /// The payload does not serialise.
    #[error("the payload cannot be serialised: {0}")]
    Serialize(String),
    /// The client does not read: 64 KiB wait for it.
    #[error("too much waits for a client that does not read")]
    Full,
    /// The stream is over.
    #[error("the stream is over")]
    Closed,
}

/// Why a handler's stream was not opened, or not begun. A response: 403 `accessdenied`, 400 `malformed`, 500
/// `internal`; or, where it may come back later, a stream that says so and ends, as the mount does
/// (see [`service`](crate::service)).
#[derive(Debug)]
pub struct StreamError {
    pub(crate) why: Why,
    pub(crate) hub: Option<Hub>,
    pub(crate) came_with: Option<Cursor>,
    pub(crate) reads_status: bool,
}

#[derive(Debug)]
pub(crate) enum Why {
    Subscribe(SubscribeError),
    Send(SendError),
}

impl Hub {
    /// Opens a stream that a handler answers with: of these channels, for the [`Grant`] in the request's
    /// extensions, which must allow to follow all of them, from the place that the client came with. See
    /// [`stream`](crate::stream).
    ///
    /// # Errors
    /// [`StreamError`] when the grant does not allow it, a name is refused, or the hub is shut down or full.
    pub fn stream<I>(&self, parts: &Parts, channels: I) -> Result<OwnStream, StreamError>
    where
        I: IntoIterator<Item: IntoName<Channel>>,
    {
        let grant = parts.extensions.get::<Grant>().cloned().unwrap_or_default();
        self.stream_as(grant, parts, channels)
    }

    /// [`stream`](Self::stream) for a grant that the handler made itself: where it is the handler that knows who may
    /// follow what.
    ///
    /// # Errors
    /// As of [`stream`](Self::stream).
    pub fn stream_as<I>(&self, grant: Grant, parts: &Parts, channels: I) -> Result<OwnStream, StreamError>
    where
        I: IntoIterator<Item: IntoName<Channel>>,
    {
        if parts.method == Method::HEAD {
            return Ok(OwnStream { open: None, first: Encoder::default() });
        }
        let start = start(&parts.headers, parts.uri.query().unwrap_or_default());
        let fail = |why| StreamError {
            why: Why::Subscribe(why),
            hub: Some(self.clone()),
            came_with: if let Start::At(cursor) = start { Some(cursor) } else { None },
            reads_status: parts.headers.contains_key("x-revalidate-client"),
        };
        let mut follows = Vec::new();
        for channel in channels {
            let channel = channel.into_name().map_err(|error| fail(error.into()))?;
            if !self.shared.lets_follow(&grant, &channel) {
                return Err(fail(SubscribeError::Denied(channel)));
            }
            follows.push(Ok(channel));
        }
        let ask = Ask {
            grant: grant.clone(),
            channels: follows,
            presence: Vec::new(),
            refused: Vec::new(),
            start,
            granted_at: Seen::by(self, &parts.extensions).unwrap_or_else(|| self.cursor()),
            places: Vec::new(),
            kind: Kind::Own,
        };
        let Opened { session, info, .. } = self.shared.open(ask).map_err(|closed| fail(closed.into()))?;
        let resumed = session.resume_whole();
        let queue = Arc::default();
        let info = Some(Box::new(info));
        let open = Open { session, info, grant, resumed, joins: Vec::new(), queue };
        Ok(OwnStream { open: Some(open), first: Encoder::default() })
    }
}

impl OwnStream {
    /// Whether the client goes on where it was cut, and nothing is to be sent first. If not, what is sent is the
    /// beginning.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.resumed)
    }

    /// Sends an event to this client alone, in front of everything that is published.
    ///
    /// # Errors
    /// [`SendError::EventName`], [`SendError::Serialize`].
    pub fn send(&mut self, event: &str, data: &(impl Serialize + ?Sized)) -> Result<(), SendError> {
        let (event, json) = (name(event)?, json(data)?);
        self.first.raw(None, &event.0, json.as_bytes());
        Ok(())
    }

    /// Sends an event whose data is this text: HTML for htmx, for instance.
    ///
    /// # Errors
    /// [`SendError::EventName`].
    pub fn send_text(&mut self, event: &str, text: &str) -> Result<(), SendError> {
        self.first.raw(None, &name(event)?.0, text.as_bytes());
        Ok(())
    }

    /// Sends to this client alone later on, while the stream is open.
    #[must_use]
    pub fn handle(&self) -> StreamHandle {
        match &self.open {
            Some(open) => {
                StreamHandle { queue: open.queue.clone(), ticket: Some(open.session.ticket().clone()) }
            }
            None => StreamHandle { queue: Arc::default(), ticket: None },
        }
    }

    /// Has the user be present in a channel while the stream is open, if the grant lets it follow that channel;
    /// events `presence` and `presence_update` tell who else is, and not of which
    /// channel: join one. No handler of `join` is asked: the
    /// stream's own has decided. See [`presence`](crate::presence).
    ///
    /// # Errors
    /// [`SubscribeError::Denied`], [`SubscribeError::Channel`].
    pub fn join(&mut self, channel: impl IntoName<Channel>) -> Result<(), SubscribeError> {
        let channel = channel.into_name()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        if !open.session.shared().lets_join(&open.grant, &channel) {
            return Err(SubscribeError::Denied(channel));
        }
        open.joins.push(channel);
        Ok(())
    }

    /// Calls back once when the stream is over, whatever ended it, also if it never began; at once for a HEAD, which
    /// opens nothing. It must not block; spawn what takes time.
    pub fn on_disconnect(&self, farewell: impl FnOnce() + Send + 'static) {
        let farewell: Farewell = Box::new(farewell);
        match &self.open {
            Some(open) => open.session.await_end(farewell),
            None => guarded(None, farewell),
        }
    }

    /// The response, of whatever framework takes [`http::Response`]; in axum the stream is one itself.
    #[must_use]
    pub fn into_response(self) -> Response<SseBody> {
        with_headers(match self.open {
            None => SseBody::empty(),
            Some(open) => {
                let retry_ms = 1000 + open.session.shared().board.draw(3001);
                let first = self.first.finish();
                SseBody::own(Own { open, first: Some((first, retry_ms)) })
            }
        })
    }
}

impl StreamHandle {
    /// Sends an event to this client alone, between two published ones. It is not kept: a client that is cut before
    /// it was written does not get it.
    ///
    /// # Errors
    /// [`SendError::Full`] when the client does not read, [`SendError::Closed`] when the stream is over; and what
    /// [`OwnStream::send`] says.
    pub fn send(&self, event: &str, data: &(impl Serialize + ?Sized)) -> Result<(), SendError> {
        self.push(&name(event)?, json(data)?.as_bytes())
    }

    /// Sends an event whose data is this text.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_text(&self, event: &str, text: &str) -> Result<(), SendError> {
        self.push(&name(event)?, text.as_bytes())
    }

    fn push(&self, event: &EventName, data: &[u8]) -> Result<(), SendError> {
        let Some(signal) = self.signal().filter(|signal| signal.ended().is_none()) else {
            return Err(SendError::Closed);
        };
        let mut frame = Encoder::default();
        frame.raw(None, &event.0, data);
        let frame = frame.finish();
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Err(SendError::Closed);
            }
            // One that is larger than the bound goes alone.
            if !queue.frames.is_empty() && queue.frames.len() + frame.len() > QUEUE {
                return Err(SendError::Full);
            }
            queue.frames.extend_from_slice(&frame);
        }
        signal.mark();
        signal.wake();
        Ok(())
    }

    /// Whether the stream is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.lock().closed || self.signal().is_none_or(|signal| signal.ended().is_some())
    }

    fn signal(&self) -> Option<&Signal> {
        self.ticket.as_ref().map(|ticket| &ticket.signal)
    }
}

fn name(event: &str) -> Result<EventName, SendError> {
    EventName::parse(event).map_err(|_| SendError::EventName(event.to_owned()))
}

fn json(data: &(impl Serialize + ?Sized)) -> Result<String, SendError> {
    serde_json::to_string(data).map_err(|error| SendError::Serialize(error.to_string()))
}

/// The stream as a body.
pub(super) struct Own {
    open: Open,
    /// What the handler sent, and the client's `retry`; until the first poll.
    first: Option<(Bytes, u64)>,
}

/// What polling gives.
pub(super) enum OwnRead {
    Chunk(Bytes),
    Last(Bytes),
}

impl Own {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<OwnRead> {
        if self.first.is_some() {
            self.begin();
        }
        let read = self.open.session.poll_read(cx, std::mem::take);
        // After the session stored its waker: what is sent from here on wakes it.
        let sent = self.open.queue.lock().frames.split().freeze();
        let mut out = Encoder::default();
        match read {
            Poll::Ready(Read::Batch(batch)) => {
                self.encode(&batch, &mut out);
                out.frame(&sent);
                let bytes = out.finish();
                self.open.session.shared().metrics.wrote(&batch, bytes.len());
                Poll::Ready(OwnRead::Chunk(bytes))
            }
            Poll::Ready(Read::Ended(_, retry)) => {
                out.frame(&sent);
                if let Some(retry) = retry {
                    out.retry(retry.into());
                }
                let bytes = out.finish();
                self.open.session.shared().metrics.wrote_bytes(bytes.len());
                Poll::Ready(OwnRead::Last(bytes))
            }
            Poll::Pending if sent.is_empty() => Poll::Pending,
            Poll::Pending => {
                self.open.session.shared().metrics.wrote_bytes(sent.len());
                Poll::Ready(OwnRead::Chunk(sent))
            }
        }
    }

    /// Somebody reads it: it is open, and its user is there.
    fn begin(&mut self) {
        if let Some(info) = self.open.info.take() {
            self.open.session.announce(&info);
        }
        for channel in std::mem::take(&mut self.open.joins) {
            // What ended it, or filled the hub, meanwhile: it hears that at once, or of nobody.
            if let Err(closed) = self.open.session.join(&channel, &self.open.grant) {
                tracing::warn!(%channel, ?closed, "a stream could not be present");
            }
        }
    }

    /// One batch, one write. What the handler sent comes first, then the place where the stream begins: a client
    /// that is cut in between comes back without one, and is sent it again.
    fn encode(&mut self, batch: &Batch, out: &mut Encoder) {
        let _entered = self.open.session.ticket().span.enter();
        let mut written = None;
        if let Some((first, retry_ms)) = self.first.take() {
            out.retry(retry_ms);
            out.frame(&first);
            if let Some(Opening::Hello { id: Some(id), resumed: false, .. }) = &batch.opening {
                out.cursor(*id);
                written = Some(id.offset);
            }
        }
        write_rest(batch, out, written, |out, posted, has_id| {
            let id = id_of(posted, batch).filter(|_| has_id);
            out.raw(id, &posted.event, &posted.data);
        });
    }
}

fn id_of(posted: &Posted, batch: &Batch) -> Option<Cursor> {
    let epoch = batch.cursor?.epoch;
    (posted.id_len > 0).then_some(Cursor { epoch, offset: posted.offset })
}

/// Also of a stream that a handler did not answer with.
impl Drop for Open {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
    }
}

impl StreamError {
    /// Why it did not open; none where it did, and its handler could not send.
    #[must_use]
    pub fn subscribe_error(&self) -> Option<&SubscribeError> {
        match &self.why {
            Why::Subscribe(error) => Some(error),
            Why::Send(_) => None,
        }
    }
}

impl Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.why {
            Why::Subscribe(error) => error.fmt(f),
            Why::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StreamError {}

/// So that a handler may use `?` for both.
impl From<SendError> for StreamError {
    fn from(error: SendError) -> Self {
        StreamError { why: Why::Send(error), hub: None, came_with: None, reads_status: true }
    }
}

impl From<SubscribeError> for StreamError {
    fn from(error: SubscribeError) -> Self {
        StreamError { why: Why::Subscribe(error), hub: None, came_with: None, reads_status: true }
    }
}

impl std::fmt::Debug for OwnStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnStream").field("resumed", &self.resumed()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHandle").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
mod axum {
    use axum_core::body::Body;
    use axum_core::response::{IntoResponse, Response};

    use super::{OwnStream, StreamError};

    impl IntoResponse for OwnStream {
        fn into_response(self) -> Response {
            OwnStream::into_response(self).map(Body::new)
        }
    }

    impl IntoResponse for StreamError {
        fn into_response(self) -> Response {
            StreamError::into_response(self).map(Body::new)
        }
    }
}
