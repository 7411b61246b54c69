//! `GET {mount}/events`: the stream.

use std::collections::HashSet;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};

use super::error::{Caller, Unopened};
use super::{RealtimeFuture, authorize, cross_site, other_method};
use crate::access::{Coming, Place};
use crate::hub::{Ask, Kind, Opened, Seen};
use crate::proto::Start;
use crate::{Channel, Cursor, Denied, Grant, Hub, Refusal, SseBody, stream};

/// Answers a request for a stream. HEAD has its headers and opens nothing.
pub(super) fn answer(hub: &Hub, parts: Parts) -> RealtimeFuture {
    match parts.method {
        Method::GET => RealtimeFuture::later(get(hub.clone(), parts)),
        Method::HEAD => RealtimeFuture::ready(stream::with_headers(SseBody::empty())),
        _ => {
            let refusal = "events are read with GET";
            RealtimeFuture::ready(other_method(&parts.method, "GET, HEAD, OPTIONS", refusal))
        }
    }
}

async fn get(hub: Hub, parts: Parts) -> Response<SseBody> {
    let mut caller = Caller::of(&hub, &parts, "events");
    let mut identity = None;
    match open(&hub, parts, &mut caller, &mut identity).await {
        Ok(opened) => stream::stream(opened.session, opened.denied, caller.came_with),
        Err(why) => caller.refuse(&hub, &why, identity.as_deref()),
    }
}

/// Authorised, then opened.
async fn open(
    hub: &Hub,
    parts: Parts,
    caller: &mut Caller,
    identity: &mut Option<Arc<str>>,
) -> Result<Opened, Unopened> {
    let options = &hub.shared.options;
    let query = Query::read(hub, &parts, caller)?;
    let from_another_site = cross_site::refuse(&options.trusted_origins, &parts).err();
    let grant = authorize::grant(options, parts).await?;
    identity.clone_from(&grant.identity);
    let coming = query.returns.whose(grant.identity());
    let mut places = query.places;
    for gate in &options.gates {
        places.extend(gate.admit(grant.identity(), caller.counted, coming).map_err(Unopened::Limited)?);
    }
    let (presence, refused) = match from_another_site {
        None => joins(hub, &grant, query.presence).await,
        // It cannot read the stream. But to be present is seen by others, and told to handlers.
        Some(refusal) => (Vec::new(), denied(query.presence, &refusal)),
    };
    let ask = Ask {
        grant,
        channels: query.channels,
        presence,
        refused,
        start: query.start,
        granted_at: query.granted_at,
        places,
        kind: Kind::Stream,
    };
    hub.shared.open(ask).map_err(Unopened::Closed)
}

/// Asks the handlers of `join` about the channels where the user is about to become present. Who is present already,
/// in another tab or a moment ago, is not asked about.
async fn joins(
    hub: &Hub,
    grant: &Grant,
    asked: Vec<Result<Channel, String>>,
) -> (Vec<Result<Channel, String>>, Vec<Denied>) {
    let (mut presence, mut refused) = (Vec::new(), Vec::new());
    for channel in asked {
        let is_joining = |channel: &Channel| {
            let shared = &hub.shared;
            let is_new = grant.identity().is_some_and(|user| !shared.board.is_present(channel, user));
            is_new && hub.has_gate(channel) && shared.lets_join(grant, channel)
        };
        match &channel {
            Ok(name) if is_joining(name) => match hub.gate(grant, name).await {
                Ok(()) => presence.push(channel),
                Err(refusal) => {
                    if let Some(source) = &refusal.source {
                        tracing::error!(channel = %name, error = %source, "a `join` handler failed");
                    }
                    refused.push(Denied { channel: name.to_string(), code: refusal.code });
                }
            },
            _ => presence.push(channel),
        }
    }
    (presence, refused)
}

fn denied(asked: Vec<Result<Channel, String>>, refusal: &Refusal) -> Vec<Denied> {
    let name =
        |channel: Result<Channel, String>| channel.map_or_else(|name| name, |channel| channel.to_string());
    asked.into_iter().map(|channel| Denied { channel: name(channel), code: refusal.code.clone() }).collect()
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
