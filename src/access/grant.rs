//! [`Grant`]: what a connection is and may do.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Pattern;
use super::pattern::user_scope;
use crate::proto::Replay;
use crate::{Channel, Cursor, IntoName, NameError, Scope};

/// What a connection is, and what it may follow and publish. Made by the server, never by the client.
///
/// Building one never fails: a refused name grants nothing and is logged at `error` when the grant is used.
/// ```
/// use tower_revalidate::{Grant, Pattern};
///
/// let id = 7;
/// let grant = Grant::user(id).scope("role:admin").follow(("room", 42)).follow(Pattern::under(("user", id)));
/// ```
///
/// A grant without an expiry ends its stream after 15 minutes less up to 20 %; the client comes back, and the
/// app's middleware makes a new one. In-process subscriptions do not expire unless the grant says so.
///
/// A grant to a channel is a grant to what is retained of it. Use [`follow_since`](Self::follow_since) for a
/// member who joined later, or [`follow_live`](Self::follow_live) for no replay at all.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Grant {
    pub(crate) identity: Option<Arc<str>>,
    pub(crate) info: Option<Arc<Value>>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) follow: Vec<(Pattern, Replay)>,
    pub(crate) publish: Vec<Pattern>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) faults: Vec<NameError>,
}

impl Grant {
    /// Nobody in particular: public channels, and what is revalidated for everyone.
    pub fn anonymous() -> Self {
        Grant::default()
    }

    /// A signed-in user, with the scope `user:{id}`. An id that holds `:`, `*` or `,` cannot be a part of a
    /// name: it gets no scope, which is logged; map such ids to others first.
    pub fn user(id: impl Display) -> Self {
        let id = id.to_string();
        let mut grant = Grant::default();
        match user_scope(&id) {
            Ok(scope) => grant.scopes.push(scope),
            Err(error) => grant.faults.push(error),
        }
        grant.identity = Some(id.into());
        grant
    }

    /// Adds a scope; at most 64 are used.
    pub fn scope(mut self, scope: impl IntoName<Scope>) -> Self {
        match scope.into_name() {
            Ok(scope) if !self.scopes.contains(&scope) => self.scopes.push(scope),
            Ok(_) => {}
            Err(error) => self.faults.push(error),
        }
        self
    }

    /// Allows to follow these channels, with all that is retained of them.
    pub fn follow(self, pattern: impl IntoName<Pattern>) -> Self {
        self.allow(pattern, Replay::Retained)
    }

    /// Allows to follow these channels from a cursor on, for instance where the user became a member.
    pub fn follow_since(self, pattern: impl IntoName<Pattern>, since: Cursor) -> Self {
        self.allow(pattern, Replay::Since(since))
    }

    /// Allows to follow these channels without replay. A client that returns is told by a `gap` if it missed
    /// something.
    pub fn follow_live(self, pattern: impl IntoName<Pattern>) -> Self {
        self.allow(pattern, Replay::Live)
    }

    /// Allows to publish to these channels: events that the client emits, and for your own handlers to ask, with
    /// [`may_publish`](Self::may_publish).
    pub fn publish(mut self, pattern: impl IntoName<Pattern>) -> Self {
        match pattern.into_name() {
            Ok(pattern) => self.publish.push(pattern),
            Err(error) => self.faults.push(error),
        }
        self
    }

    /// What other users may see of this one: a name, an avatar; never a token. For your own handlers to ask,
    /// with [`public_info`](Self::public_info).
    pub fn info(mut self, info: Value) -> Self {
        self.info = Some(Arc::new(info));
        self
    }

    /// Ends the stream after this time.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// The user's id; none for an anonymous one.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// What other users may see of this one.
    #[must_use]
    pub fn public_info(&self) -> Option<&Value> {
        self.info.as_deref()
    }

    /// Whether the grant allows to publish to this channel.
    #[must_use]
    pub fn may_publish(&self, channel: &Channel) -> bool {
        self.publish.iter().any(|pattern| pattern.matches(channel))
    }

    /// Tells of names that were refused, where the grant is used.
    pub(crate) fn log_faults(&self) {
        for fault in &self.faults {
            tracing::error!(%fault, identity = self.identity(), "a name in a grant was refused");
        }
    }

    fn allow(mut self, pattern: impl IntoName<Pattern>, replay: Replay) -> Self {
        match pattern.into_name() {
            Ok(pattern) => self.follow.push((pattern, replay)),
            Err(error) => self.faults.push(error),
        }
        self
    }

    /// How the grant allows to follow this channel: the widest of what its patterns say; none: not at all.
    pub(crate) fn replay(&self, channel: &Channel) -> Option<Replay> {
        let matching = self.follow.iter().filter(|(pattern, _)| pattern.matches(channel));
        matching.map(|(_, replay)| *replay).min_by_key(|replay| match replay {
            Replay::Retained => (0, 0),
            Replay::Since(cursor) => (1, cursor.offset),
            Replay::Live => (2, 0),
        })
    }
}
