//! `GET {mount}/events`: the stream.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Method, Response};

use super::error::{Caller, Unopened};
use super::{RealtimeFuture, authorize, other_method};
use crate::access::{Authorizing, Coming, Place};
use crate::hub::{Ask, Kind, Seen};
use crate::proto::Start;
use crate::{Channel, Cursor, Grant, Hub, SseBody, stream};

/// Answers a request for a stream. HEAD has its headers and opens nothing.
pub(super) fn answer(hub: &Hub, parts: Parts) -> RealtimeFuture {
    match parts.method {
        Method::GET => RealtimeFuture::events(Events::new(hub.clone(), parts)),
        Method::HEAD => RealtimeFuture::ready(stream::with_headers(SseBody::empty())),
        _ => RealtimeFuture::ready(other_method(
            &parts.method,
            "GET, HEAD, OPTIONS",
            "events are read with GET",
        )),
    }
}

/// One request for a stream: authorised, then opened.
pub(super) struct Events {
    hub: Hub,
    caller: Caller,
    state: State,
}

#[allow(clippy::large_enum_variant, reason = "it is boxed with the whole")]
enum State {
    Refused(Unopened),
    Authorizing(Authorizing<Grant>, Query),
    Done,
}

/// What the request asks for.
struct Query {
    channels: Vec<Result<Channel, String>>,
    presence: Vec<Result<Channel, String>>,
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
    fn new(hub: Hub, parts: Parts) -> Self {
        let mut caller = Caller::of(&hub, &parts, "events");
        let state = match Query::read(&hub, &parts, &mut caller) {
            Err(why) => State::Refused(why),
            Ok(query) => State::Authorizing(authorize::grant(&hub.shared.options, parts), query),
        };
        Events { hub, caller, state }
    }

    fn open(&self, grant: Grant, query: Query) -> Response<SseBody> {
        let identity = grant.identity.clone();
        let identity = identity.as_deref();
        let coming = query.returns.whose(identity);
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
            presence: query.presence,
            start: query.start,
            granted_at: query.granted_at,
            places,
            kind: Kind::Stream,
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
        let granted = match &mut self.state {
            State::Authorizing(authorizing, _) => Some(std::task::ready!(Pin::new(authorizing).poll(cx))),
            _ => None,
        };
        Poll::Ready(match (std::mem::replace(&mut self.state, State::Done), granted) {
            (State::Refused(why), _) => self.refuse(&why, None),
            (State::Authorizing(_, query), Some(Ok(grant))) => self.open(grant, query),
            (State::Authorizing(..), Some(Err(refusal))) => self.refuse(&Unopened::Refused(refusal), None),
            (State::Authorizing(..), None) | (State::Done, _) => {
                panic!("a future is not polled after it completed")
            }
        })
    }
}

impl Query {
    fn read(hub: &Hub, parts: &Parts, caller: &mut Caller) -> Result<Self, Unopened> {
        let options = &hub.shared.options;
        authorize::require_https(options, parts)?;
        let text = parts.uri.query().unwrap_or_default();
        let is_too_long = text.len() > options.query_bytes;
        let text = if is_too_long { "" } else { text };
        let start = stream::start(&parts.headers, text);
        if let Start::At(cursor) = start {
            caller.came_with = Some(cursor);
        }
        // Before anything that costs, and before it is known whether the rest is any good: that is counted, too.
        let returns = Returns::of(hub, start, text);
        let mut places = Vec::new();
        for gate in &options.gates {
            let passed = gate.arrive(caller.counted, returns.anyone());
            places.extend(passed.map_err(Unopened::Limited)?);
        }
        if is_too_long {
            let message = format!("the query is over {} bytes", options.query_bytes);
            return Err(Unopened::Malformed(message));
        }
        let channels = names(text, "channels", options.channels)?;
        let presence = names(text, "presence", options.channels)?;
        // With the layer outside of the app's authentication: from before the grant was made, so that a change
        // of grant in between ends the session (PROTOCOL R10).
        let seen = Seen::by(hub, &parts.extensions);
        let granted_at = seen.unwrap_or_else(|| hub.cursor());
        Ok(Query { channels, presence, start, granted_at, returns, places })
    }
}

/// The channels that a query asks for under this name, each once, in their order.
fn names(query: &str, field: &str, max: usize) -> Result<Vec<Result<Channel, String>>, Unopened> {
    let mut names = HashSet::new();
    let mut channels = Vec::new();
    let lists = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == field);
    for (_, list) in lists {
        // Not trimmed: a name is what it is, also one that ends with a blank.
        for name in list.split(',').filter(|name| !name.is_empty()) {
            if names.insert(name.to_owned()) {
                channels.push(Channel::parse(name).map_err(|_| name.to_owned()));
            }
            if names.len() > max {
                return Err(Unopened::Malformed(format!("over {max} names in `{field}`")));
            }
        }
    }
    Ok(channels)
}

impl Returns {
    fn of(hub: &Hub, start: Start, query: &str) -> Self {
        let (options, board) = (&hub.shared.options, &hub.shared.board);
        if options.gates.is_empty() {
            return Returns::default();
        }
        Returns {
            resumes: matches!(start, Start::At(cursor) if board.knows(cursor)),
            replaces: stream::last(query, &["replaces"]).and_then(|session| board.identity_of(&session)),
        }
    }

    /// As far as can be told before it is known whose it is.
    fn anyone(&self) -> Coming {
        self.by(|_| true)
    }

    /// For a user whose identity is known; that a session of another is live is no reason.
    fn whose(&self, identity: Option<&str>) -> Coming {
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
