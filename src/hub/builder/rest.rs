//! The endpoints beside the stream: whom they answer, and whose POSTs are taken.

use std::future::Future;

use http::request::Parts;

use super::Builder;
use crate::access::Authorizer;
use crate::{Grant, Refusal};

/// # The endpoints beside the stream
impl Builder {
    /// Trusts the front end at another origin: its POSTs are taken with the user's cookies, and its streams may have the
    /// user be [present](crate::presence). Without it the POSTs of another site, and of another host of the same site,
    /// are refused with 403 `crosssite`, and so is what they ask for as `presence`. It takes the app's own CORS headers
    /// besides for a browser to ask at all.
    ///
    /// ```
    /// # use tower_revalidate::Hub;
    /// let hub = Hub::builder().trust_origin("https://app.example.com").build()?;
    /// # Ok::<(), tower_revalidate::BuildError>(())
    /// ```
    pub fn trust_origin(mut self, origin: impl AsRef<str>) -> Self {
        match crate::service::origin(origin.as_ref()) {
            Ok(origin) => self.options.trusted_origins.push(origin),
            Err(reason) => self.refuse("trust_origin", reason),
        }
        self
    }

    /// Who may read `GET {mount}/stats`: which channels are followed, by how many sessions and by whom. It is not
    /// there until this is set.
    pub fn stats<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.options.stats = Some(Authorizer::new(authorize));
        self
    }

    /// Who may read `GET {mount}/channel/users`: who is present in a channel. It is not there until this is set.
    pub fn channel_users<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.options.channel_users = Some(Authorizer::new(authorize));
        self
    }

    /// Who may send `POST {mount}/broadcast` and `POST {mount}/revalidate`: trusted senders, such as an app that
    /// runs elsewhere and has a token. They are not there until this is set. A broadcast goes to the channels that
    /// the grant allows to [publish](Grant::publish) to; whoever is let in at all may revalidate any key for
    /// anyone. The parts say which of the two is asked for.
    ///
    /// ```
    /// use http::header::AUTHORIZATION;
    /// use tower_revalidate::{Grant, Hub, Refusal};
    ///
    /// let hub = Hub::builder()
    ///     .broadcast(async |parts: http::request::Parts| match parts.headers.get(AUTHORIZATION) {
    ///         // compare a real one in constant time
    ///         Some(token) if token == "Bearer secret" => Ok(Grant::user("billing").publish("invoice:*")),
    ///         _ => Err(Refusal::unauthorized("a token is needed")),
    ///     })
    ///     .build()?;
    /// # Ok::<(), tower_revalidate::BuildError>(())
    /// ```
    pub fn broadcast<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        self.options.broadcast = Some(Authorizer::new(authorize));
        self
    }

    /// How often a user, or an address, may emit events; several limits may be set. Default: none. What a limit
    /// says of streams alone ([`max_open`](crate::Limit::max_open),
    /// [`returns_per_minute`](crate::Limit::returns_per_minute)) is refused here. Needs the feature `limits`.
    ///
    /// ```
    /// use tower_revalidate::{Hub, Limit};
    ///
    /// let hub = Hub::builder().limit_emit(Limit::by_identity().per_minute(600).burst(100)).build()?;
    /// # Ok::<(), tower_revalidate::BuildError>(())
    /// ```
    #[cfg(feature = "limits")]
    #[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
    #[allow(clippy::needless_pass_by_value, reason = "a builder takes what it is given")]
    pub fn limit_emit(mut self, limit: crate::Limit) -> Self {
        self.needs_address |= limit.needs_address();
        match limit.post_gate("events are emitted too often") {
            Ok(gate) => self.options.emit_gates.push(gate),
            Err(reason) => self.refuse("limit_emit", reason),
        }
        self
    }

    /// How often a trusted sender may broadcast and revalidate, both together; as
    /// [`limit_emit`](Self::limit_emit).
    #[cfg(feature = "limits")]
    #[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
    #[allow(clippy::needless_pass_by_value, reason = "a builder takes what it is given")]
    pub fn limit_broadcast(mut self, limit: crate::Limit) -> Self {
        self.needs_address |= limit.needs_address();
        match limit.post_gate("there are too many broadcasts") {
            Ok(gate) => self.options.broadcast_gates.push(gate),
            Err(reason) => self.refuse("limit_broadcast", reason),
        }
        self
    }
}
