//! What clients and subscribers do.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream as _};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::Empty;
use tower::{Layer as _, ServiceExt as _};
use tower_revalidate::{Channel, Cursor, Epoch, Grant, Hub, Refusal, SubscribeError};

use super::super::checker::{Came, Moment, Session, Viewer};
use super::super::client::{Flag, Stream};
use super::super::world::{CHANNELS, MALFORMED, USERS, User};
use super::op::With;
use super::{History, Subscriber, moment};

/// In a request's extensions: this user's grant changes while the authorizer makes it.
#[derive(Clone)]
struct Meanwhile(Hub, &'static str);

impl History {
    pub(super) async fn connect(&mut self, client: usize, node: usize, with: With, expires: bool) {
        self.hang_up(client);
        if self.clients[client].channels.is_empty() {
            self.clients[client].user = self.rng.usize(..USERS.len());
            self.clients[client].channels = self.wish();
        }
        let known = self.moment(node).known;
        let other = Epoch::from_random(self.rng.u64(..));
        let cursor = match with {
            With::Own => self.clients[client].cursor.map(|cursor| cursor.to_string()),
            With::Nothing => None,
            With::Early(by) => Some(Cursor { offset: known.offset.saturating_sub(by), ..known }.to_string()),
            With::Ahead(by) => Some(Cursor { offset: known.offset + by, ..known }.to_string()),
            With::OtherEpoch => Some(Cursor { epoch: other, ..known }.to_string()),
            With::Malformed(text) => Some(text.to_owned()),
        };
        self.clients[client].is_honest &= matches!(with, With::Own | With::Nothing);
        let channels = self.clients[client].channels.clone();
        if let Some(mut stream) = self.open(client, node, channels, cursor, expires).await {
            if client == 0 {
                stream.cut_after = self.cut_first_at.take();
            }
            self.clients[client].adopt(stream);
        }
    }

    pub(super) fn wish(&mut self) -> Vec<String> {
        let rng = &mut self.rng;
        let names = CHANNELS.iter().map(|(name, _)| *name).chain([MALFORMED]);
        let mut wish: Vec<String> = names.filter(|_| rng.u8(0..3) > 0).map(str::to_owned).collect();
        rng.shuffle(&mut wish);
        wish
    }

    pub(super) async fn switch(&mut self, client: usize, node: usize, channels: Vec<usize>) {
        let Some(cursor) = self.clients[client].cursor.filter(|_| self.clients[client].stream.is_some())
        else {
            return;
        };
        let channels = channels.into_iter().map(|index| CHANNELS[index].0.to_owned()).collect();
        if let Some(next) = self.open(client, node, channels, Some(cursor.to_string()), false).await {
            self.clients[client].switch_to(next);
        }
    }

    /// A request for a stream; none if the process is gone.
    pub(super) async fn open(
        &mut self,
        client: usize,
        node: usize,
        channels: Vec<String>,
        cursor: Option<String>,
        expires: bool,
    ) -> Option<Stream> {
        let user = self.users[self.clients[client].user];
        let mut grant = user.grant();
        if expires {
            grant = grant.expires_in(Duration::from_secs(5));
        }
        let viewer = viewer(&user, &channels, expires.then_some(5000));
        let mut uri = format!("/realtime/events?channels={}", channels.join(","));
        let mut request = Request::builder();
        match (&cursor, self.rng.u8(0..3)) {
            (Some(cursor), 0) => request = request.header("last-event-id", cursor),
            (Some(cursor), 1) => uri += &format!("&last_event_id={}", cursor.replace(' ', "+")),
            (Some(cursor), _) => uri += &format!("&lastEventId={}", cursor.replace(' ', "+")),
            (None, _) => {}
        }
        let hub = self.nodes[node].hub.clone();
        let mut request = request.uri(uri).extension(grant);
        if let Some(name) = user.identity().filter(|_| self.rng.u8(0..20) == 0) {
            request = request.extension(Meanwhile(hub.clone(), name));
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let asked = self.moment(node).known;
        let answer = if self.rng.bool() {
            hub.service().oneshot(request).await
        } else {
            hub.layer().layer(hub.service()).oneshot(request).await
        };
        let Ok(response) = answer;
        assert_eq!(response.status(), StatusCode::OK);
        let came = match &cursor {
            None => Came::Fresh,
            Some(text) => text.parse().map_or(Came::Strange, Came::With),
        };
        let opened = self.moment(node);
        self.trace.note(|| format!("       client {client} opens at {} with {came:?}", opened.known));
        let follows = viewer.follows.clone();
        let session = Session::open(viewer, came, self.setting.rules(), asked, opened);
        Some(Stream::new(node, response.into_body(), session, channels, follows))
    }

    pub(super) fn hang_up(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.stream = None;
        client.next = None;
        client.is_reading = true;
    }

    pub(super) fn cut(&mut self, client: usize, after: usize) {
        let client = &mut self.clients[client];
        match (after, &mut client.stream) {
            (0, stream) => *stream = None,
            (after, Some(stream)) => stream.cut_after = Some(after),
            _ => {}
        }
    }

    pub(super) fn read(&mut self, client: usize, polls: usize) {
        let anew = self.rng.bool();
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        let moment =
            |stream: &Stream| Moment { idle: stream.idle(), ..moment(log, nodes, began, stream.node) };
        let truth = self.truth.lock();
        let trace = &mut self.trace;
        self.clients[client].read(polls, moment, anew, &truth, &mut |line| {
            trace.note(|| format!("       client {client} < {}", line()));
        });
    }

    pub(super) fn read_all(&mut self, polls: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].is_reading && self.clients[client].is_woken() {
                self.read(client, polls);
            }
        }
        self.read_subscriptions();
        self.read_receipts();
    }

    pub(super) fn subscribe(&mut self, node: usize, user: usize) {
        let user = self.users[user];
        let channels: Vec<String> = self.wish().into_iter().filter(|name| name != MALFORMED).collect();
        let subscribed = self.nodes[node].hub.subscribe(user.grant());
        if self.nodes[node].shut {
            assert!(matches!(subscribed, Err(SubscribeError::Shutdown)));
            return;
        }
        let mut subscription = subscribed.expect("the hub has room");
        let viewer = viewer(&user, &channels, None);
        for (name, _) in &viewer.follows {
            subscription = subscription.follow(Channel::parse(name).expect("a name")).expect("it is granted");
        }
        let session = Session::subscribe(viewer, self.setting.rules(), self.moment(node));
        self.subscribers.push(Subscriber { node, subscription, flag: Flag::new(), session });
    }

    pub(super) fn read_subscriptions(&mut self) {
        let truth = self.truth.lock();
        let (log, nodes, began) = (&self.log, &self.nodes, self.began);
        self.subscribers.retain_mut(|subscriber| {
            if !subscriber.flag.is_woken() {
                return true;
            }
            let now = Moment { idle: subscriber.flag.idle(), ..moment(log, nodes, began, subscriber.node) };
            let waker = Flag::rearm(&mut subscriber.flag, false);
            let mut events = Vec::new();
            let over = loop {
                match Pin::new(&mut subscriber.subscription).poll_next(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(event)) => events.push(event),
                    Poll::Ready(None) => break true,
                    Poll::Pending => break false,
                }
            };
            if !events.is_empty() {
                subscriber.session.heard(&events, now, &truth);
            }
            if over {
                let error = subscriber.subscription.recv().now_or_never().expect("it is over");
                let error = error.expect_err("it is over").to_string();
                let reason = error.rsplit(' ').next().unwrap_or_default();
                subscriber.session.ended(reason, now, &truth);
            }
            !over
        });
    }
}

pub(super) async fn authorize(parts: Parts) -> Result<Grant, Refusal> {
    if let Some(Meanwhile(hub, name)) = parts.extensions.get() {
        drop(hub.regrant(name));
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    Ok(parts.extensions.get::<Grant>().cloned().expect("a grant"))
}

fn viewer(user: &User, channels: &[String], expires: Option<u64>) -> Viewer {
    let mut viewer = Viewer {
        identity: user.identity().map(str::to_owned),
        scopes: user.scopes().iter().map(|scope| (*scope).to_owned()).collect(),
        follows: Vec::new(),
        denied: Vec::new(),
        expires,
    };
    for channel in channels {
        match user.access(channel) {
            _ if channel == MALFORMED => viewer.denied.push((channel.clone(), "malformed")),
            Some(access) => viewer.follows.push((channel.clone(), access)),
            None => viewer.denied.push((channel.clone(), "accessdenied")),
        }
    }
    viewer
}
