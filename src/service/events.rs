//! `GET {mount}/events`: the stream.

use std::borrow::Cow;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderMap, Response};

use super::error::{Caller, Unopened};
use crate::access::{Authorizing, Coming, Place};
use crate::hub::{Ask, Seen};
use crate::proto::Start;
use crate::{Channel, Cursor, Grant, Hub, Refusal, SseBody, stream};

/// One request for a stream: authorised, then opened.
pub(super) struct Events {
    hub: Hub,
    caller: Caller,
    state: State,
}

enum State {
    Refused(Unopened),
    Authorizing(Authorizing, Query),
    Granted(Grant, Query),
    Done,
}

/// What the request asks for.
struct Query {
    channels: Vec<Result<Channel, String>>,
    start: Start,
    granted_at: Cursor,
    returns: Returns,
    places: Vec<Place>,
}

/// Whether the request goes on with a stream that was open, so that it is not counted with the new ones
/// (PROTOCOL R12).
#[derive(Default)]
struct Returns {
    /// It has a cursor of this hub.
    resumes: bool,
    /// It replaces a live session, with this identity.
    replaces: Option<Option<Arc<str>>>,
}

impl Events {
    pub(super) fn new(hub: Hub, parts: Parts) -> Self {
        let mut caller = Caller::of(&hub, &parts);
        let asked = Query::read(&hub, &parts).and_then(|query| query.arrive(&hub, &mut caller));
        let state = match asked {
            Err(why) => State::Refused(why),
            Ok(query) => match &hub.shared.options.authorizer {
                Some(authorizer) => State::Authorizing(authorizer.call(parts), query),
                None => {
                    let grant = parts.extensions.get::<Grant>().cloned().unwrap_or_default();
                    State::Granted(grant, query)
                }
            },
        };
        Events { hub, caller, state }
    }

    fn open(&self, grant: Grant, query: Query) -> Response<SseBody> {
        let identity = grant.identity.clone();
        let identity = identity.as_deref();
        let coming = query.returns.of(identity);
        let mut places = query.places;
        for gate in &self.hub.shared.options.gates {
            match gate.admit(identity, self.caller.counted, coming) {
                Ok(place) => places.extend(place),
                Err(wait) => return self.refuse(&Unopened::Limited(wait), identity),
            }
        }
        let ask = Ask {
            grant,
            channels: query.channels,
            start: query.start,
            granted_at: query.granted_at,
            places,
            stream: true,
        };
        match self.hub.shared.open(ask) {
            Ok((session, denied)) => stream::stream(session, denied, self.caller.came_with),
            Err(closed) => self.refuse(&Unopened::Closed(closed), identity),
        }
    }

    fn refuse(&self, why: &Unopened, identity: Option<&str>) -> Response<SseBody> {
        self.caller.refuse(&self.hub, why, identity)
    }
}

impl Future for Events {
    type Output = Response<SseBody>;

    #[allow(clippy::panic)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Authorizing(authorizing, _) = &mut self.state {
            let granted = std::task::ready!(Pin::new(authorizing).poll(cx));
            let state = std::mem::replace(&mut self.state, State::Done);
            self.state = match (granted, state) {
                (Ok(grant), State::Authorizing(_, query)) => State::Granted(grant, query),
                (Err(refusal), _) => State::Refused(Unopened::Refused(refusal)),
                (_, state) => state,
            };
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Refused(why) => Poll::Ready(self.refuse(&why, None)),
            State::Granted(grant, query) => Poll::Ready(self.open(grant, query)),
            State::Authorizing(..) | State::Done => panic!("a future is not polled after it completed"),
        }
    }
}

impl Query {
    fn read(hub: &Hub, parts: &Parts) -> Result<Self, Unopened> {
        let options = &hub.shared.options;
        if let Some(is_https) = &options.is_https {
            match catch_unwind(AssertUnwindSafe(|| is_https(parts))) {
                Ok(true) => {}
                Ok(false) => return Err(Unopened::Plain),
                Err(_) => return Err(Unopened::Refused(Refusal::error("`require_https` panicked"))),
            }
        }
        let text = parts.uri.query().unwrap_or_default();
        if text.len() > options.query_bytes {
            let message = format!("the query is over {} bytes", options.query_bytes);
            return Err(Unopened::Malformed(message));
        }
        let mut names: Vec<Cow<'_, str>> = Vec::new();
        let (mut cursor, mut replaces) = (None, None);
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "channels" => {
                    // Not trimmed: a name is what it is, also one that ends with a blank.
                    let list = value.split(',').filter(|name| !name.is_empty());
                    for name in list.map(|name| Cow::Owned(name.to_owned())) {
                        if !names.contains(&name) {
                            names.push(name);
                        }
                        if names.len() > options.channels {
                            return Err(Unopened::Malformed(format!("over {} channels", options.channels)));
                        }
                    }
                }
                "last_event_id" | "lastEventId" => cursor = Some(value),
                "replaces" => replaces = Some(value),
                _ => {}
            }
        }
        let channels = names.into_iter().map(|name| Channel::parse(&name).map_err(|_| name.into_owned()));
        let start = start(&parts.headers, cursor.as_deref());
        let mut returns = Returns::default();
        if !options.gates.is_empty() {
            let board = &hub.shared.board;
            returns.resumes = matches!(start, Start::At(cursor) if board.knows(cursor));
            returns.replaces = replaces.and_then(|session| board.identity_of(&session));
        }
        // With the layer outside of the app's authentication: from before the grant was made, so that a change
        // of grant in between ends the session (PROTOCOL R10).
        let seen = Seen::by(hub, &parts.extensions);
        let granted_at = seen.unwrap_or_else(|| hub.cursor());
        Ok(Query { channels: channels.collect(), start, granted_at, returns, places: Vec::new() })
    }

    /// Passes the gates that ask nothing but where it comes from.
    fn arrive(mut self, hub: &Hub, caller: &mut Caller) -> Result<Self, Unopened> {
        if let Start::At(cursor) = self.start {
            caller.came_with = Some(cursor);
        }
        for gate in &hub.shared.options.gates {
            let passed = gate.arrive(caller.counted, self.returns.any());
            self.places.extend(passed.map_err(Unopened::Limited)?);
        }
        Ok(self)
    }
}

impl Returns {
    /// As far as can be told before it is known whose it is.
    fn any(&self) -> Coming {
        self.by(|_| true)
    }

    /// For a user whose identity is known; that a session of another is live is no reason.
    fn of(&self, identity: Option<&str>) -> Coming {
        self.by(|replaced| replaced == identity)
    }

    fn by(&self, is_own: impl Fn(Option<&str>) -> bool) -> Coming {
        if self.replaces.as_ref().is_some_and(|replaced| is_own(replaced.as_deref())) {
            Coming::Replacing
        } else if self.resumes {
            Coming::Resuming
        } else {
            Coming::New
        }
    }
}

/// The header that a browser sends by itself, else the query. An empty one is none (WHATWG HTML, 9.2.3).
fn start(headers: &HeaderMap, query: Option<&str>) -> Start {
    let cursor = match headers.get("last-event-id").filter(|header| !header.is_empty()) {
        Some(header) => header.to_str().ok(),
        None => Some(query.unwrap_or_default()),
    };
    match cursor.map(str::trim) {
        Some("") => Start::Fresh,
        Some(cursor) => cursor.parse().map_or(Start::Strange, Start::At),
        None => Start::Strange,
    }
}
