//! Who may do what, and who is told.

use std::future::Future;
use std::time::Duration;

use http::request::Parts;

use super::{Builder, millis};
use crate::access::Authorizer;
use crate::{Audit, Channel, ClientAddress, Disconnect, Grant, IntoQueryKey, QueryKey, Refusal, SessionInfo};

/// # Who may do what, and who is told
impl Builder {
    /// Makes the [`Grant`] of a request, instead of taking it from the request's extensions. It gets the parts
    /// by value. An error or a panic answers 500 and opens nothing.
    pub fn authorize<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        self.options.authorizer = Some(Authorizer::new(authorize));
        self
    }

    /// How long a stream lives whose grant does not say, less up to 20 %. Default 15 min.
    pub fn grant_lifetime(mut self, time: Duration) -> Self {
        self.options.grant_lifetime = millis(time);
        self
    }

    /// Called when a session opened. It must not block.
    pub fn on_connect(mut self, hook: impl Fn(&SessionInfo) + Send + Sync + 'static) -> Self {
        self.options.on_connect = Some(Box::new(hook));
        self
    }

    /// Called once when a session is over, with what ended it: see [`Disconnect`]. It must not block; spawn what
    /// takes time.
    pub fn on_disconnect(mut self, hook: impl Fn(&SessionInfo, Disconnect) + Send + Sync + 'static) -> Self {
        self.options.on_disconnect = Some(Box::new(hook));
        self.board.describes_ends = true;
        self
    }

    /// Called for whatever is refused, besides the log line. See [`Audit`]. It must not block.
    pub fn on_audit(mut self, hook: impl Fn(&Audit<'_>) + Send + Sync + 'static) -> Self {
        self.options.on_audit = Some(Box::new(hook));
        self
    }

    /// Whether to tell of a POST, PUT, PATCH or DELETE that is answered 2xx and says nothing of what it
    /// changed: [`Audit::Silent`]. Where nothing became stale, and where a handler published through the hub
    /// itself (`revalidate`, a channel, a pledge that it dropped), it says
    /// [`Revalidate::nothing`](crate::Revalidate::nothing). Default `false`.
    pub fn audit_mutations(mut self, audit: bool) -> Self {
        self.options.audit_mutations = audit;
        self
    }

    /// Declares that a key, and every key below it, is never for everyone: saying so without an audience is
    /// refused with [`Fault::Unscoped`](crate::Fault::Unscoped), and nobody hears of it. The layer publishes the
    /// rest of what the response says, [`Hub::revalidate`](crate::Hub::revalidate) nothing. A prefix of the key
    /// names nothing below it, and may be for everyone.
    pub fn scoped_key(mut self, key: impl IntoQueryKey) -> Self {
        match QueryKey::new(key) {
            Ok(key) => self.options.scoped_keys.push(key),
            Err(error) => self.refuse("scoped_key", error.to_string()),
        }
        self
    }

    /// Whether channels that no pattern [declares](Self::channel) are refused: publishing to one is
    /// [`PublishError::Undeclared`](crate::PublishError::Undeclared), and nobody may follow one, whatever their
    /// grant: `accessdenied` on a stream, [`SubscribeError::Denied`](crate::SubscribeError::Denied) in process.
    /// Default `false`.
    pub fn declared_channels_only(mut self, only: bool) -> Self {
        self.options.declared_channels_only = only;
        self
    }

    /// How to tell where a request comes from: for limits, and for the audit.
    pub fn client_address(mut self, address: ClientAddress) -> Self {
        if let Some(wrong) = address.wrong {
            self.refuse("client_address", wrong.into());
        }
        self.options.client_address = Some(address);
        self
    }

    /// How often streams may be opened, and how many at a time; several limits may be set. Default: none. Needs
    /// the feature `limits`.
    #[cfg(feature = "limits")]
    #[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
    #[allow(clippy::needless_pass_by_value, reason = "a builder takes what it is given")]
    pub fn limit(mut self, limit: crate::Limit) -> Self {
        self.needs_address |= limit.needs_address();
        match limit.gate() {
            Ok(gate) => self.options.gates.push(gate),
            Err(reason) => self.refuse("limit", reason),
        }
        self
    }

    /// Refuses streams with 403 `httpsrequired` where this says that the request did not come over HTTPS. How
    /// to tell depends on what stands in front, for TLS ends there:
    ///
    /// ```
    /// # use tower_revalidate::Hub;
    /// // one proxy, that *sets* the header
    /// let hub = Hub::builder()
    ///     .require_https(|parts| parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https"))
    ///     .build()?;
    /// # Ok::<(), tower_revalidate::BuildError>(())
    /// ```
    pub fn require_https(mut self, is_https: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.options.is_https = Some(Box::new(is_https));
        self
    }

    /// Whether the layer also reads what a response says in the header `X-Revalidate`, and takes it out. For
    /// upstreams that cannot set extensions, and that are trusted as handlers are. See
    /// [the module docs](crate::layer). Default `false`. Needs the feature `header`.
    #[cfg(feature = "header")]
    #[cfg_attr(docsrs, doc(cfg(feature = "header")))]
    pub fn response_header(mut self, reads: bool) -> Self {
        self.options.reads_header = reads;
        self
    }

    /// Looks at each message (channel, event, payload as JSON) before it leaves; `false` refuses it with
    /// [`PublishError::Filtered`](crate::PublishError::Filtered).
    pub fn filter(mut self, filter: impl Fn(&Channel, &str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.options.filter = Some(Box::new(filter));
        self
    }
}
