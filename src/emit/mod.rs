//! Events from clients: [`Hub::on`] and [`Hub::relay`], and how one is handled.
//!
//! ```text
//! POST emit → rights → Handlers → Turns → a task of its own → its receipts → the answer
//! ```
//!
//! The handlers of one channel run in the order in which the events came, those of different channels side by
//! side. Each runs in a task of its own, so that a client that goes away cancels nothing, and a panic is the
//! answer of that one request.

mod event;
mod gates;
mod handlers;
mod turns;

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

pub use self::event::ClientEvent;
use self::event::Context;
use self::handlers::{Handler, Handlers};
use self::turns::Turns;
use crate::access::publish_refusal;
use crate::event::EventName;
use crate::{Channel, Grant, Hub, IntoName, Pattern, Receipt, Refusal};

/// Events that the server tells of itself: whoever handles them decides what happens, and no client sends them.
const OWN: [&str; 2] = ["join", "leave"];

/// An event as a client sent it.
pub(crate) struct Emitted {
    pub(crate) grant: Grant,
    pub(crate) channel: Channel,
    /// Not looked at: no handler has a name that is none.
    pub(crate) event: Box<str>,
    pub(crate) data: Box<RawValue>,
}

/// What may be asked of the sender before a built-in handler has the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The right to publish to the channel.
    Publish,
    /// To be present in the channel.
    Presence,
}

/// The handlers of a hub, and the events in work.
pub(crate) struct Emits {
    handlers: Handlers,
    turns: Turns,
    places: Arc<Semaphore>,
}

impl Emits {
    pub(crate) fn new(max: usize) -> Self {
        Emits {
            handlers: Handlers::default(),
            turns: Turns::default(),
            places: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
        }
    }
}

/// # Events from clients
impl Hub {
    /// Handles an event that clients emit on the channels of a pattern, `POST {mount}/emit`.
    ///
    /// Of several patterns that match, the most specific one's handler has the event; of one pattern, the one
    /// that was set last. The sender's grant must allow to [publish](Grant::publish) to the channel. An event
    /// that nobody handles is refused with 404, so that clients cannot speak in the server's name.
    ///
    /// The payload is read as `T` first: where it is none, the answer is 400 `invalid` and the handler is not
    /// called. What the handler gives is the answer, as JSON; `()` is 204. It answers after what it published
    /// through the event stands in the log. A panic is 500, of that request alone.
    ///
    /// The handlers of one channel run one after the other, in the order in which the events came: bound what
    /// may take long. Those of different channels run side by side, each in a task of its own.
    ///
    /// Two events come from the server itself: `join`, when a stream of the mount asks for a user to become present in a
    /// channel (a refusal keeps them out), and `leave`, when a user is no longer; their payload is `null`. A `join` is
    /// a question, and no count: who was let in may still not come, and the server's own code, which joins by
    /// [`OwnStream::join`](crate::OwnStream::join) and [`Subscription::join`](crate::Subscription::join), is not asked.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use serde_json::json;
    /// use tower_revalidate::{ClientEvent, Hub, Refusal};
    ///
    /// #[derive(Deserialize)]
    /// struct Said {
    ///     content: String,
    /// }
    ///
    /// let hub = Hub::new();
    /// hub.on("room:*", "said", async |event: ClientEvent<Said>| {
    ///     let content = event.data.content.trim();
    ///     if content.chars().count() > 1000 {
    ///         return Err(Refusal::invalid("at most 1 000 characters"));
    ///     }
    ///     event.publish("new_message", &json!({"sender_id": event.identity(), "content": content}));
    ///     Ok(json!({"length": content.len()}))
    /// });
    /// ```
    ///
    /// A handler that uses what stands around it gives it to each of its futures, as in axum:
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use tower_revalidate::{ClientEvent, Hub};
    /// # let (hub, db) = (Hub::new(), Arc::new(Mutex::new(0)));
    /// hub.on("doc:*", "operation", move |event: ClientEvent<u64>| {
    ///     let db = db.clone();
    ///     async move {
    ///         *db.lock().expect("no holder panics") += event.data;
    ///         Ok(())
    ///     }
    /// });
    /// ```
    ///
    /// Take the hub from the [event](ClientEvent::hub): a handler that captures it keeps it alive for ever.
    ///
    /// # Panics
    /// When the pattern is refused, or the name of the event: it is empty, over 128 bytes, holds a control
    /// character, or is `hello`, `revalidate`, `gap`, `bye`, `presence` or `presence_update`, the protocol's own.
    #[track_caller]
    pub fn on<T, R, F, Fut>(&self, pattern: impl IntoName<Pattern>, event: &str, handler: F)
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(ClientEvent<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Refusal>> + Send + 'static,
    {
        let (pattern, event) = checked(pattern, event);
        self.shared.emits.handlers.add(event, Handler::new(pattern, Needs::Publish, handler));
    }

    /// Passes an event on to the others who follow the channel, without a handler: as
    /// `{"by": identity, "at": milliseconds since the epoch, "data": …}`, of which the server says the first two.
    ///
    /// ```
    /// # let hub = tower_revalidate::Hub::new();
    /// hub.relay("doc:*", "cursor");
    /// ```
    ///
    /// # Panics
    /// As [`on`](Self::on), and for `join` and `leave`, which no client sends.
    #[track_caller]
    pub fn relay(&self, pattern: impl IntoName<Pattern>, event: &str) {
        assert!(!OWN.contains(&event), "no client emits {event:?}");
        let name = event.to_owned();
        self.on(pattern, event, move |event: ClientEvent<Box<RawValue>>| {
            event.relay(&name);
            std::future::ready(Ok(()))
        });
    }

    /// A handler of the hub's own, asked before those of the app.
    pub(crate) fn on_built_in<T, R, F, Fut>(&self, pattern: Pattern, event: &str, needs: Needs, handler: F)
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(ClientEvent<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Refusal>> + Send + 'static,
    {
        self.shared.emits.handlers.add_built_in(event.into(), Handler::new(pattern, needs, handler));
    }

    /// Handles what a client sent; the answer as JSON.
    pub(crate) async fn emit(&self, emitted: Emitted) -> Result<Vec<u8>, Refusal> {
        let Emits { handlers, places, .. } = &self.shared.emits;
        let event = &*emitted.event;
        if OWN.contains(&event) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "reserved",
                "the server tells of this event itself",
            ));
        }
        let built_in = handlers.find_built_in(event, &emitted.channel);
        // Before anything that others wait for, too: a place, and a turn in the channel's line.
        match built_in.as_ref().map_or(Needs::Publish, |handler| handler.needs) {
            Needs::Publish => self.shared.may_publish(&emitted.grant, &emitted.channel)?,
            Needs::Presence => {
                let is_there = |identity| self.shared.board.is_present(&emitted.channel, identity);
                if !emitted.grant.identity().is_some_and(is_there) {
                    return Err(crate::presence::not_present());
                }
            }
        }
        let Some(handler) = built_in.or_else(|| handlers.find(event, &emitted.channel)) else {
            let message = "nobody handles this event on this channel";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "unhandled", message));
        };
        let place = places.clone().try_acquire_owned().map_err(|_| busy())?;
        outcome(self.start(&here()?, handler, emitted, Some(place))).await
    }

    /// Takes the event's turn in its channel, at once, and handles it in a task of its own.
    fn start(
        &self,
        runtime: &Handle,
        handler: Arc<Handler>,
        emitted: Emitted,
        place: Option<OwnedSemaphorePermit>,
    ) -> JoinHandle<Result<Vec<u8>, Refusal>> {
        let Emitted { grant, channel, event, data } = emitted;
        let mut turn = self.shared.emits.turns.take(&channel);
        let receipts = Arc::<Mutex<Vec<Receipt>>>::default();
        let context = Context {
            hub: self.clone(),
            channel,
            event,
            grant,
            at: SystemTime::now(),
            receipts: receipts.clone(),
        };
        runtime.spawn(async move {
            let _place = place;
            let at_work = handler.run(context, &data)?;
            turn.come().await;
            let answer = at_work.await?;
            drop(turn);
            let receipts = std::mem::take(&mut *receipts.lock());
            for receipt in receipts {
                receipt.await.map_err(publish_refusal)?;
            }
            Ok(answer)
        })
    }
}

/// What became of a handler.
async fn outcome(at_work: JoinHandle<Result<Vec<u8>, Refusal>>) -> Result<Vec<u8>, Refusal> {
    let outcome = at_work.await.unwrap_or_else(|error| Err(Refusal::error(error)));
    outcome.map_err(|refusal| match refusal.source {
        Some(_) => Refusal { message: "the handler failed".into(), ..refusal },
        None => refusal,
    })
}

fn here() -> Result<Handle, Refusal> {
    Handle::try_current().map_err(Refusal::error)
}

fn busy() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many events are in work")
}

#[track_caller]
#[allow(clippy::panic, reason = "as a router refuses a route")]
fn checked(pattern: impl IntoName<Pattern>, event: &str) -> (Pattern, Box<str>) {
    match (pattern.into_name(), EventName::parse(event)) {
        (Ok(pattern), Ok(event)) => (pattern, event.0),
        (Err(error), _) => panic!("{error}"),
        (_, Err(error)) => panic!("{error}"),
    }
}
