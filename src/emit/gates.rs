//! `join` and `leave`: what the server tells of itself. A join may be refused, a leave is seen.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Emits, Emitted, busy, here, outcome};
use crate::{Channel, Grant, Hub, Refusal};

impl Hub {
    /// Asks whoever handles `join` whether this user may become present in the channel.
    pub(crate) async fn gate(&self, grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
        let Emits { handlers, places, .. } = &self.shared.emits;
        let Some(handler) = handlers.find("join", channel) else { return Ok(()) };
        let place = places.clone().try_acquire_owned().map_err(|_| busy())?;
        let joins = Emitted::own("join", grant.clone(), channel);
        outcome(self.start(&here()?, handler, joins, Some(place))).await.map(drop)
    }

    /// Whether anybody wants to be asked.
    pub(crate) fn has_gate(&self, channel: &Channel) -> bool {
        self.shared.emits.handlers.find("join", channel).is_some()
    }

    /// Tells whoever handles `leave` that this user is no longer present. It takes no place among the events in
    /// work: it may not be refused, and those that hold the places may be waiting for their turn behind it.
    pub(crate) fn observe_leave(&self, channel: &Channel, identity: &str, info: Option<Arc<Value>>) {
        let Some(handler) = self.shared.emits.handlers.find("leave", channel) else { return };
        let runtime = here().ok().or_else(|| self.shared.board.runtimes().pop());
        let Some(runtime) = runtime else {
            tracing::error!(%channel, identity, "nobody is told of a leave: there is no runtime");
            return;
        };
        let mut grant = Grant::user(identity);
        grant.info = info;
        let leaves = self.start(&runtime, handler, Emitted::own("leave", grant, channel), None);
        let channel = channel.clone();
        runtime.spawn(async move {
            if let Err(refusal) = outcome(leaves).await {
                tracing::warn!(%channel, ?refusal, "a `leave` handler failed; a leave cannot be refused");
            }
        });
    }
}

impl Emitted {
    fn own(event: &str, grant: Grant, channel: &Channel) -> Self {
        let data = RawValue::NULL.to_owned();
        Emitted { grant, channel: channel.clone(), event: event.into(), data }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::{ClientEvent, message};

    fn room(id: u32) -> Channel {
        Channel::new(("room", id)).unwrap()
    }

    #[tokio::test]
    async fn a_join_is_let_in_or_refused_and_may_be_told() {
        let hub = Hub::new();
        assert!(hub.gate(&Grant::user("eve"), &room(1)).await.is_ok(), "nobody minds");
        hub.on("room:*", "join", async |event: ClientEvent<()>| {
            if event.identity() == Some("eve") {
                return Err(Refusal::new(http::StatusCode::FORBIDDEN, "full", "the room is full"));
            }
            event.publish("user_joined", &json!({"who": event.identity(), "name": event.info()}));
            Ok("welcome")
        });
        let mut sub = hub.subscribe(Grant::user("bob").follow("room:*")).unwrap().follow("room:1").unwrap();
        let refusal = hub.gate(&Grant::user("eve"), &room(1)).await.unwrap_err();
        assert_eq!((refusal.status.as_u16(), &*refusal.code), (403, "full"));
        hub.gate(&Grant::user("alice").info(json!("Alice")), &room(1)).await.unwrap();
        let told = message("room:1", "user_joined", &json!({"who": "alice", "name": "Alice"}));
        assert_eq!(sub.try_recv().unwrap(), Some(told), "it stands when the gate opens");
        assert_eq!(sub.try_recv().unwrap(), None, "of who was refused nothing is told");
    }

    #[tokio::test]
    async fn a_gate_that_panics_stays_shut() {
        let hub = Hub::new();
        hub.on("room:*", "join", async |_: ClientEvent| -> Result<(), Refusal> { panic!("on purpose") });
        let refusal = hub.gate(&Grant::user("alice"), &room(1)).await.unwrap_err();
        assert_eq!((refusal.status.as_u16(), &*refusal.code), (500, "internal"));
    }

    #[tokio::test]
    async fn a_leave_is_seen_in_its_order_whatever_became_of_the_one_before() {
        let hub = Hub::builder().max_emits(1).build().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        hub.on("room:*", "leave", move |event: ClientEvent| {
            let sees = sees.clone();
            async move {
                let who: usize = event.identity().unwrap().parse().unwrap();
                for _ in who..9 {
                    tokio::task::yield_now().await;
                }
                sees.lock().push(format!("{who} {}", event.info().unwrap()));
                if who == 1 { Err(Refusal::forbidden("stay")) } else { Ok(()) }
            }
        });
        let all: Vec<_> = (0..9).map(|id| format!("{id} \"name\"")).collect();
        for id in 0..9 {
            hub.observe_leave(&room(1), &id.to_string(), Some(Arc::new(json!("name"))));
        }
        hub.on("room:*", "join", async |_: ClientEvent| Ok(()));
        // Behind them in the line.
        hub.gate(&Grant::user("alice"), &room(1)).await.unwrap();
        assert_eq!(*seen.lock(), all);
    }

    /// Whoever comes back the moment a session ended has left before.
    #[tokio::test]
    async fn a_leave_stands_in_the_line_before_a_hook_can_let_anyone_join() {
        let known: Arc<Mutex<Option<Hub>>> = Arc::default();
        let hooked = known.clone();
        let hub = Hub::builder()
            .on_disconnect(move |_, _| {
                let hub = hooked.lock().clone().unwrap();
                // As another thread would.
                drop(hub.gate(&Grant::user("alice"), &room(1)).now_or_never());
            })
            .build()
            .unwrap();
        *known.lock() = Some(hub.clone());
        let seen = Arc::new(Mutex::new(Vec::new()));
        for event in ["join", "leave"] {
            let seen = seen.clone();
            hub.on("room:*", event, move |client: ClientEvent| {
                seen.lock().push(client.event().to_owned());
                std::future::ready(Ok(()))
            });
        }
        let alice = hub.subscribe(Grant::user("alice").follow("room:*")).unwrap().join("room:1").unwrap();
        hub.disconnect_user("alice").await.unwrap();
        hub.gate(&Grant::user("bob"), &room(1)).await.unwrap();
        assert_eq!(*seen.lock(), ["leave", "join", "join"]);
        *known.lock() = None;
        drop(alice);
    }
}
