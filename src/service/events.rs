//! `GET {mount}/events`: the stream.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::error;
use crate::access::Authorizing;
use crate::hub::{Ask, ByeReason, Closed, Seen};
use crate::proto::Start;
use crate::{Channel, Cursor, Grant, Hub, SseBody, stream};

/// One request for a stream: authorised, then opened.
pub(super) struct Events {
    hub: Hub,
    state: State,
}

enum State {
    Refused(Option<Response<SseBody>>),
    Authorizing(Authorizing, Query),
    Granted(Option<(Grant, Query)>),
}

/// What the request asks for.
struct Query {
    channels: Vec<Result<Channel, String>>,
    start: Start,
    granted_at: Cursor,
    /// The project's own client, which can read a status; a native `EventSource` cannot.
    reads_status: bool,
}

impl Events {
    pub(super) fn new(hub: Hub, parts: Parts) -> Self {
        let state = match Query::read(&hub, &parts) {
            Err(message) => {
                State::Refused(Some(error::response(StatusCode::BAD_REQUEST, "malformed", &message)))
            }
            Ok(query) => match &hub.shared.options.authorizer {
                Some(authorizer) => State::Authorizing(authorizer.call(parts), query),
                None => {
                    let grant = parts.extensions.get::<Grant>().cloned().unwrap_or_default();
                    State::Granted(Some((grant, query)))
                }
            },
        };
        Events { hub, state }
    }

    fn open(&self, grant: Grant, query: Query) -> Response<SseBody> {
        let ask = Ask {
            grant,
            channels: query.channels,
            start: query.start,
            granted_at: query.granted_at,
            stream: true,
        };
        match self.hub.shared.open(ask) {
            Ok((session, denied)) => stream::stream(session, denied),
            Err(closed) => self.turn_away(closed, query.reads_status),
        }
    }

    /// Refused for a while: with a status to those who can read one, with a stream that ends to the others.
    fn turn_away(&self, closed: Closed, reads_status: bool) -> Response<SseBody> {
        let (reason, message) = match closed {
            Closed::Shutdown => (ByeReason::Shutdown, "the server shuts down"),
            Closed::Busy => (ByeReason::Busy, "too many streams are open"),
            Closed::Grant => (ByeReason::Grant, "the grant changed meanwhile"),
        };
        let retry_ms = 1000 + self.hub.shared.board.draw(9001);
        if !reads_status {
            return stream::goodbye(reason, retry_ms);
        }
        let mut response = error::response(StatusCode::SERVICE_UNAVAILABLE, reason.as_str(), message);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_ms.div_ceil(1000)));
        response
    }
}

impl Future for Events {
    type Output = Response<SseBody>;

    #[allow(clippy::expect_used)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "a future is not polled after it completed";
        loop {
            match &mut self.state {
                State::Refused(response) => return Poll::Ready(response.take().expect(ONCE)),
                State::Authorizing(authorizing, _) => {
                    let granted = std::task::ready!(Pin::new(authorizing).poll(cx));
                    let state = std::mem::replace(&mut self.state, State::Granted(None));
                    self.state = match (granted, state) {
                        (Ok(grant), State::Authorizing(_, query)) => State::Granted(Some((grant, query))),
                        (Err(refusal), _) => State::Refused(Some(error::refusal(&refusal))),
                        (_, state) => state,
                    };
                }
                State::Granted(granted) => {
                    let (grant, query) = granted.take().expect(ONCE);
                    return Poll::Ready(self.open(grant, query));
                }
            }
        }
    }
}

impl Query {
    fn read(hub: &Hub, parts: &Parts) -> Result<Self, String> {
        let options = &hub.shared.options;
        let text = parts.uri.query().unwrap_or_default();
        if text.len() > options.query_bytes {
            return Err(format!("the query is over {} bytes", options.query_bytes));
        }
        let mut names: Vec<Cow<'_, str>> = Vec::new();
        let mut cursor = None;
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
                            return Err(format!("over {} channels", options.channels));
                        }
                    }
                }
                "last_event_id" | "lastEventId" => cursor = Some(value),
                _ => {}
            }
        }
        let channels = names.into_iter().map(|name| Channel::parse(&name).map_err(|_| name.into_owned()));
        // With the layer outside of the app's authentication: from before the grant was made, so that a change
        // of grant in between ends the session (PROTOCOL R10).
        let seen = Seen::by(hub, &parts.extensions);
        Ok(Query {
            channels: channels.collect(),
            start: start(&parts.headers, cursor.as_deref()),
            granted_at: seen.unwrap_or_else(|| hub.cursor()),
            reads_status: parts.headers.contains_key("x-revalidate-client"),
        })
    }
}

/// The header that a browser sends by itself, else the query. An empty one is none (WHATWG HTML, 9.2.3).
fn start(headers: &HeaderMap, query: Option<&str>) -> Start {
    let cursor = match headers.get("last-event-id") {
        Some(header) => header.to_str().ok(),
        None => Some(query.unwrap_or_default()),
    };
    match cursor.map(str::trim) {
        Some("") => Start::Fresh,
        Some(cursor) => cursor.parse().map_or(Start::Strange, Start::At),
        None => Start::Strange,
    }
}
