//! [`HubSession`]: an open session, as a guard; opening one for a grant.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::board::{Closed, Opening, Read, Seat};
use super::builder::millis;
use super::{Disconnect, Farewell, SessionId, SessionInfo, Shared, Ticket};
use crate::access::Place;
use crate::proto::{Batch, Follow, Replay, Start, TopicName};
use crate::sse::Denied;
use crate::{Audit, Channel, Cursor, Grant};

/// What a client or a caller asks for.
pub(crate) struct Ask {
    pub(crate) grant: Grant,
    pub(crate) channels: Vec<Result<Channel, String>>,
    /// The channels in which it wants to be present.
    pub(crate) presence: Vec<Result<Channel, String>>,
    /// Where a handler of `join` did not let it.
    pub(crate) refused: Vec<Denied>,
    pub(crate) start: Start,
    /// The grant was made after this.
    pub(crate) granted_at: Cursor,
    /// What the session holds for as long as it lives.
    pub(crate) places: Vec<Place>,
    pub(crate) kind: Kind,
}

/// How a session leaves the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a stream: it hears heartbeats, expires, and is freed when nobody polls it.
    Stream,
    /// As the stream of a handler: so, and without revalidations. It counts as open from its first poll on.
    Own,
    /// In process.
    Subscription,
}

impl Kind {
    pub(super) fn is_stream(self) -> bool {
        self != Kind::Subscription
    }
}

/// A session that is open. Dropping it closes it.
pub(crate) struct HubSession {
    shared: Arc<Shared>,
    seat: Seat,
    _places: Option<Box<Places>>,
}

/// What a session holds for as long as it lives.
struct Places(#[allow(dead_code, reason = "it is there to be dropped")] Vec<Place>);

/// A session that was opened.
pub(crate) struct Opened {
    pub(crate) session: HubSession,
    /// The channels that the grant does not allow.
    pub(crate) denied: Vec<Denied>,
    /// Whom `on_connect` is told of.
    pub(crate) info: SessionInfo,
}

impl Shared {
    /// Opens a session for what is asked, as far as the grant allows.
    pub(crate) fn open(self: &Arc<Self>, ask: Ask) -> Result<Opened, Closed> {
        ask.grant.log_faults();
        let max_scopes = self.options.scopes;
        if ask.grant.scopes.len() > max_scopes {
            tracing::error!(
                identity = ask.grant.identity(),
                "a grant has over {max_scopes} scopes; the rest is not used"
            );
        }
        self.flush(self.clock.now());
        let mut follows = Vec::with_capacity(1 + ask.grant.scopes.len().min(max_scopes) + ask.channels.len());
        let is_own = ask.kind == Kind::Own;
        if !is_own {
            follows.push(Follow { name: TopicName::Everyone, replay: Replay::Retained });
        }
        for scope in ask.grant.scopes.iter().take(max_scopes).filter(|_| !is_own) {
            follows.push(Follow { name: TopicName::Scope(scope.clone()), replay: Replay::Retained });
        }
        let mut denied = ask.refused;
        // A session stands in a topic's list once: twice it would hear all of it twice, and not find its way out.
        let mut known = HashSet::new();
        for channel in ask.channels.into_iter().filter(|channel| known.insert(channel.clone())) {
            match self.allowed(&ask.grant, channel) {
                Ok((channel, replay)) => follows.push(Follow { name: TopicName::Channel(channel), replay }),
                Err(refused) => denied.push(refused),
            }
        }
        let mut presence = Vec::new();
        known.clear();
        for channel in ask.presence.into_iter().filter(|channel| known.insert(channel.clone())) {
            let refused = match self.allowed(&ask.grant, channel) {
                Ok((channel, _)) if self.lets_join(&ask.grant, &channel) => {
                    presence.push(channel);
                    continue;
                }
                Ok((channel, _)) => Denied { channel: channel.to_string(), code: "accessdenied".into() },
                Err(refused) => refused,
            };
            // Asked for twice, it is denied once.
            if !denied.contains(&refused) {
                denied.push(refused);
            }
        }
        let tip = self.board.cursor();
        let lifetime = self.options.grant_lifetime;
        let expires_in = match ask.grant.expires_in {
            Some(time) => Some(millis(time)),
            None if ask.kind == Kind::Subscription => None,
            None => Some(lifetime - self.board.draw(lifetime / 5)),
        };
        let channels = follows.iter().filter_map(|follow| match &follow.name {
            TopicName::Channel(channel) => Some(channel.clone()),
            _ => None,
        });
        let mut info = SessionInfo {
            id: String::new(),
            identity: ask.grant.identity.clone(),
            channels: channels.collect(),
            presence: presence.clone(),
        };
        let opening = Opening {
            identity: ask.grant.identity.clone(),
            follows,
            presence,
            attendee: ask.grant.info.clone(),
            start: ask.start,
            // A grant of another epoch is older than anything that is known.
            granted_at: if ask.granted_at.epoch == tip.epoch { ask.granted_at.offset } else { 0 },
            expires_in,
            runtime: Handle::try_current().ok(),
            kind: ask.kind,
        };
        let seat = self.board.open(opening, self.clock.now())?;
        // The guard before the hook: whatever the hook does, the session closes.
        info.id = seat.id().to_string();
        let places = (!ask.places.is_empty()).then(|| Box::new(Places(ask.places)));
        let session = HubSession { shared: self.clone(), seat, _places: places };
        self.kick();
        let span = &session.ticket().span;
        span.open(&info.id, info.identity.as_deref());
        let entered = span.enter();
        if !is_own {
            session.announce(&info);
        }
        if !denied.is_empty() {
            let identity = info.identity.as_deref();
            self.audit(&Audit::Denied { channels: &denied, identity });
        }
        drop(entered);
        Ok(Opened { session, denied, info })
    }

    /// A channel that was asked for, if it may be followed.
    fn allowed(&self, grant: &Grant, asked: Result<Channel, String>) -> Result<(Channel, Replay), Denied> {
        let channel = asked.map_err(|channel| Denied { channel, code: "malformed".into() })?;
        match self.replay(grant, &channel) {
            Some(replay) => Ok((channel, replay)),
            None => Err(Denied { channel: channel.to_string(), code: "accessdenied".into() }),
        }
    }

    pub(crate) fn lets_follow(&self, grant: &Grant, channel: &Channel) -> bool {
        self.replay(grant, channel).is_some()
    }

    /// Whether the channel's presence is open to this grant: as the channel is, but to strangers only where their
    /// grant names it. That a channel is public does not make public who follows it.
    pub(crate) fn lets_join(&self, grant: &Grant, channel: &Channel) -> bool {
        self.lets_follow(grant, channel) && (grant.identity.is_some() || grant.replay(channel).is_some())
    }

    /// How the grant, or the channel's policy, allows to follow.
    fn replay(&self, grant: &Grant, channel: &Channel) -> Option<Replay> {
        let policies = &self.policies;
        if self.options.declared_channels_only && !policies.declare(channel) {
            return None;
        }
        if policies.of(channel).public && !policies.keep_scoped(channel) {
            return Some(Replay::Retained);
        }
        grant.replay(channel)
    }
}

impl HubSession {
    /// It is open now: calls `on_connect`.
    pub(crate) fn announce(&self, info: &SessionInfo) {
        self.shared.opened(&self.seat, info);
    }

    /// Whether it resumed without a hole; if not, it begins here, and what was before is nobody's matter: whoever
    /// asks tells all of it anew.
    pub(crate) fn resume_whole(&self) -> bool {
        self.shared.board.resume_whole(&self.seat)
    }

    pub(crate) fn await_end(&self, farewell: Farewell) {
        self.shared.await_end(&self.seat, farewell);
    }

    pub(crate) fn ticket(&self) -> &Arc<Ticket> {
        &self.seat.ticket
    }

    pub(crate) fn id(&self) -> SessionId {
        self.seat.id()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn follow(&self, channel: Channel, grant: &Grant) -> Result<bool, Closed> {
        let Some(replay) = self.shared.replay(grant, &channel) else { return Ok(false) };
        let name = TopicName::Channel(channel);
        let marked = self.shared.board.follow(&self.seat, &Follow { name, replay })?;
        self.shared.act(marked);
        Ok(true)
    }

    /// Is present in a channel, if the grant lets it.
    pub(crate) fn join(&self, channel: &Channel, grant: &Grant) -> Result<bool, Closed> {
        if !self.shared.lets_join(grant, channel) {
            return Ok(false);
        }
        let marked = self.shared.board.join(&self.seat, channel, grant.info.as_ref())?;
        self.shared.act(marked);
        Ok(true)
    }

    /// Has the next poll read, whether dispatch came by or not.
    pub(crate) fn look(&self) {
        self.seat.ticket.signal.mark();
    }

    pub(crate) fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Batch) -> T,
    ) -> Poll<Read<T>> {
        let _entered = self.seat.ticket.span.enter();
        let shared = &self.shared;
        let now = || shared.clock.now();
        shared.board.poll_read(&self.seat, cx, now, |batch| {
            shared.metrics.read(batch, now);
            take(batch)
        })
    }
}

impl From<Closed> for crate::SubscribeError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Busy => Self::Busy,
            Closed::Shutdown => Self::Shutdown,
            Closed::Grant => Self::Grant,
        }
    }
}

impl std::fmt::Debug for HubSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let identity = &self.seat.ticket.identity;
        let (id, kind) = (self.id(), self.seat.kind);
        f.debug_struct("HubSession")
            .field("id", &id)
            .field("kind", &kind)
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

impl Drop for HubSession {
    fn drop(&mut self) {
        if let Some(ended) = self.shared.board.close(&self.seat, self.shared.clock.now()) {
            self.shared.closed(&ended, Disconnect::Closed);
        }
    }
}
