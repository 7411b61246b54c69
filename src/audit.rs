//! [`Audit`]: what an operator wants to know of: what was refused, and what was forgotten.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Method, StatusCode, Uri};

use crate::{Denied, Fault, PublishError};

/// Something that was refused or is missing. Each is logged through `tracing`, and told to the hook of
/// [`Builder::on_audit`](crate::Builder::on_audit).
///
/// ```
/// use tower_revalidate::{Audit, Hub};
///
/// let hub = Hub::builder()
///     .on_audit(|audit| {
///         if let Audit::Refused { status, code, address, .. } = audit {
///             println!("{address:?} was refused: {status} {code}"); // count it, ban it
///         }
///     })
///     .build()?;
/// # Ok::<(), tower_revalidate::BuildError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Audit<'a> {
    /// A part of a [`Revalidate`](crate::Revalidate) was refused. The rest of a response's was published; of
    /// [`Hub::revalidate`](crate::Hub::revalidate) nothing was. Logged at `error`.
    Fault(&'a Fault),
    /// A stream was not opened, or a POST not taken; also by a handler of [`Hub::on`](crate::Hub::on). Logged at
    /// `info`.
    #[non_exhaustive]
    Refused {
        /// What was asked for, below the mount: `events`, `emit`, `broadcast`, ….
        path: &'a str,
        /// What it was answered with, or would have been: a browser's own `EventSource` that is refused for a
        /// while gets 200 and `bye`.
        status: StatusCode,
        /// The code of the answer: `malformed`, `accessdenied`, `limited`, ….
        code: &'a str,
        /// The reason, in words.
        message: &'a str,
        /// The user, if that was known already.
        identity: Option<&'a str>,
        /// Where from, if the hub was told [how to tell](crate::Builder::client_address).
        address: Option<IpAddr>,
    },
    /// A stream was opened without channels that it asked for. Logged at `info`. (In process it is an error of
    /// [`Subscription::follow`](crate::Subscription::follow) instead.)
    #[non_exhaustive]
    Denied {
        /// Which, and why.
        channels: &'a [Denied],
        /// The user.
        identity: Option<&'a str>,
    },
    /// A [`Change`](crate::Change) was refused, by the hub or by one of its two channels. Logged at `error`.
    #[non_exhaustive]
    Change {
        /// Of which resource.
        resource: &'a str,
        /// Of which record; `null` if the id was refused.
        id: &'a serde_json::Value,
        /// Why.
        error: &'a PublishError,
    },
    /// A POST, PUT, PATCH or DELETE was answered 2xx, and the *response* said nothing of what it changed: what a
    /// handler published through the hub itself is not seen. Only with
    /// [`audit_mutations`](crate::Builder::audit_mutations). Logged at `warn`.
    #[non_exhaustive]
    Silent {
        /// The request's method.
        method: &'a Method,
        /// The request's URI, as the layer saw it.
        uri: &'a Uri,
        /// The answer.
        status: StatusCode,
    },
}

pub(crate) type AuditHook = Box<dyn Fn(&Audit<'_>) + Send + Sync>;

/// Logs it, and tells the hook, whose panic is its own. What a client wrote is logged escaped.
pub(crate) fn audit(hook: Option<&AuditHook>, audit: &Audit<'_>) {
    match audit {
        Audit::Fault(fault) => {
            let fault = fault.to_string();
            tracing::error!(?fault, "a part of a `Revalidate` was refused");
        }
        Audit::Refused { path, status, code, message, identity, address } => {
            let status = status.as_u16();
            tracing::info!(path, status, code, reason = ?message, identity, ?address, "a request was refused");
        }
        Audit::Denied { channels, identity } => {
            tracing::info!(?channels, identity, "channels were denied");
        }
        Audit::Change { resource, id, error } => {
            tracing::error!(?resource, %id, error = ?error.to_string(), "a record change was refused");
        }
        Audit::Silent { method, uri, status } => {
            let (path, status) = (uri.path(), status.as_u16());
            tracing::warn!(%method, ?path, status, "a mutation said nothing of what it changed");
        }
    }
    if hook.is_some_and(|hook| catch_unwind(AssertUnwindSafe(|| hook(audit))).is_err()) {
        tracing::error!("the audit hook panicked");
    }
}
