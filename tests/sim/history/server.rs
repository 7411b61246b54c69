//! What handlers and tasks of the server do, and what they are told.

use std::convert::Infallible;
use std::future::IntoFuture as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_revalidate::{Channel, Cursor, PublishError, Revalidate, RevalidateExt as _};

use super::super::client::Flag;
use super::super::ledger::{What, payload};
use super::super::world::scope;
use super::op::{Pledges, Stale, With};
use super::{Awaited, Expected, History, moment};

impl History {
    pub(super) fn publish(&mut self, node: usize, channel: &'static str, pad: usize) {
        self.serial += 1;
        let number = self.serial;
        let channel = Channel::parse(channel).expect("a channel");
        let receipt = self.nodes[node].hub.channel(channel).publish("said", &payload(number, pad));
        self.await_receipt(node, receipt.into_future(), Expected::Message(number));
    }

    pub(super) fn revalidate(&mut self, node: usize, stale: &Stale) {
        let receipt = {
            let scopes = stale.audience.map_or(1, <[_]>::len).max(1);
            let hub = &self.nodes[node].hub;
            if stale.keys.len() * scopes > self.setting.max_keys {
                let refused = hub.revalidate(revalidate(stale)).into_future().now_or_never();
                assert!(matches!(refused, Some(Err(PublishError::TooMany { .. }))), "{refused:?}");
                return;
            }
            self.truth.lock().said(node, stale.audience, &stale.keys, None);
            hub.revalidate(revalidate(stale))
        };
        let nobody = stale.audience.is_some_and(<[_]>::is_empty);
        let keys = if nobody { Vec::new() } else { stale.keys.clone() };
        self.await_receipt(node, receipt.into_future(), Expected::Keys(keys));
    }

    pub(super) fn await_receipt(
        &mut self,
        node: usize,
        future: Pin<Box<dyn Future<Output = Result<Cursor, PublishError>> + Send>>,
        expected: Expected,
    ) {
        self.receipts.push(Awaited { node, future, flag: Flag::new(), expected });
    }

    pub(super) async fn post(
        &mut self,
        node: usize,
        stale: &Stale,
        status: u16,
        origin: Option<&'static str>,
        pledges: Pledges,
    ) {
        let hub = self.nodes[node].hub.clone();
        let status = StatusCode::from_u16(status).expect("a status");
        let said = revalidate(stale);
        let handler = service_fn(|_: Request<()>| {
            let (hub, said) = (hub.clone(), said.clone());
            async move {
                let response = Response::builder().status(status).body(()).expect("a response");
                let pledge = (pledges != Pledges::None).then(|| hub.pledge(said.clone()));
                // The commit.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(match (pledges, pledge) {
                    (Pledges::Carried, Some(pledge)) => response.revalidate(pledge),
                    (_, Some(pledge)) => {
                        pledge.cancel();
                        response
                    }
                    (_, None) => response.revalidate(said),
                })
            }
        });
        let mut request = Request::post("/posts");
        if let Some(origin) = origin {
            request = request.header("x-revalidate-id", origin);
        }
        let succeeds = status.is_success() || status.is_redirection();
        let is_said = match pledges {
            Pledges::None | Pledges::Carried => succeeds,
            Pledges::Cancelled => false,
            Pledges::Dropped => true,
        };
        if is_said {
            let valid = |origin: &&str| origin.bytes().all(|byte| !byte.is_ascii_uppercase());
            let origin = origin.filter(valid).filter(|_| pledges != Pledges::Dropped);
            self.truth.lock().said(node, stale.audience, &stale.keys, origin.map(str::to_owned));
        }
        let mut service = hub.layer().layer(handler);
        let mut answer = Box::pin(service.call(request.body(()).expect("a request")));
        if pledges == Pledges::Dropped {
            assert!(answer.as_mut().now_or_never().is_none(), "the handler waits for its commit");
            drop(answer);
            return;
        }
        let Ok(response) = answer.await;
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<Revalidate>().is_none(), "the layer left its extension");
    }

    /// R8: the cursor is from before the page's data was read.
    pub(super) async fn page(&mut self, node: usize, client: usize, is_public: bool) {
        let hub = self.nodes[node].hub.clone();
        self.serial += 1;
        let number = self.serial;
        let before = self.moment(node).known;
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        let mut read_at = before;
        let (mut receipt, read) = (None, &mut read_at);
        let handler = service_fn(|_: Request<()>| {
            *read = moment(log, nodes, began, node).known;
            // Something changes while the page is rendered.
            receipt = Some(hub.channel("news").publish("said", &payload(number, 0)));
            async move {
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                let response = Response::builder();
                let response =
                    if is_public { response.header("cache-control", "public, max-age=60") } else { response };
                Ok::<_, Infallible>(response.body(()).expect("a response"))
            }
        });
        let answer = hub.layer().layer(handler).oneshot(Request::get("/").body(()).expect("a request"));
        let Ok(response) = answer.await;
        let receipt = receipt.expect("the handler ran").into_future();
        self.await_receipt(node, receipt, Expected::Message(number));
        let stamp = response.headers().get("x-revalidate-cursor");
        assert_eq!(stamp.is_none(), is_public, "a page is stamped unless it is public");
        let Some(stamp) = stamp else { return };
        let stamp: Cursor = stamp.to_str().expect("text").parse().expect("a cursor");
        assert_eq!(stamp.epoch, read_at.epoch);
        assert!(stamp.offset <= read_at.offset, "the page read at {read_at} and is stamped {stamp}");
        assert!(stamp.offset >= before.offset, "the page was asked for at {before} and is stamped {stamp}");
        self.hang_up(client);
        if self.clients[client].is_honest {
            self.clients[client].start_from_page(stamp);
        }
        self.connect(client, node, With::Own, false).await;
    }

    pub(super) fn regrant(&mut self, node: usize, user: usize, sign_out: bool) {
        let tip = self.tip();
        let user = &mut self.users[user];
        user.wide = !user.wide;
        user.joined = tip;
        let name = user.name;
        let hub = &self.nodes[node].hub;
        let receipt = if sign_out { hub.disconnect_user(name) } else { hub.regrant(name) };
        self.await_receipt(node, receipt.into_future(), Expected::Regrant(name));
    }

    /// R6: what a receipt says is so.
    pub(super) fn read_receipts(&mut self) {
        let truth = self.truth.lock();
        let (log, nodes, began, had_faults) = (&self.log, &self.nodes, self.began, self.had_faults);
        self.receipts.retain_mut(|receipt| {
            if !receipt.flag.is_woken() {
                return true;
            }
            let waker = Flag::rearm(&mut receipt.flag, false);
            let Poll::Ready(result) = receipt.future.as_mut().poll(&mut Context::from_waker(&waker)) else {
                return true;
            };
            let expected = &receipt.expected;
            let Ok(at) = result else {
                assert!(had_faults, "{expected:?} failed for nothing: {result:?}");
                return false;
            };
            let stands = match (expected, truth.get(at)) {
                (Expected::Message(number), _) => truth.message(*number) == Some(at),
                (Expected::Keys(keys), Some(What::Revalidate { keys: stand, .. })) => {
                    keys.iter().all(|key| stand.iter().any(|prefix| prefix.covers(key)))
                }
                (Expected::Keys(keys), _) => keys.is_empty(),
                (Expected::Regrant(name), Some(What::Regrant { identity })) => identity == name,
                (Expected::Regrant(_), _) => false,
            };
            assert!(
                stands,
                "a receipt says that {expected:?} stands at {at}, where {:?} does",
                truth.get(at)
            );
            let known = moment(log, nodes, began, receipt.node).known;
            let near = known.epoch != at.epoch || known.offset + 64 >= at.offset;
            assert!(near, "a receipt for {at} while its node is at {known}");
            false
        });
    }
}

fn revalidate(stale: &Stale) -> Revalidate {
    let revalidate = Revalidate::keys(&stale.keys).delay(stale.delay);
    match stale.audience {
        None => revalidate,
        Some(scopes) => revalidate.to_any(scopes.iter().map(|name| scope(name))),
    }
}
