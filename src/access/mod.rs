//! Who may hear what: [`Grant`] and its [`Pattern`]s, and the hook that makes one.
//!
//! By default the grant comes from the request's extensions, where the app's own auth middleware put it. No
//! grant is an anonymous one, which may follow public channels only.
//!
//! ```
//! use tower_revalidate::{Grant, Pattern};
//!
//! # fn demo(mut request: http::Request<()>, id: u64) {
//! // in the app's own middleware
//! let grant = Grant::user(id).scope("role:admin").follow("room:*").follow(Pattern::under(("user", id)));
//! request.extensions_mut().insert(grant);
//! # }
//! ```
//!
//! The promise: fail closed. A name that is refused grants nothing, an authorizer that errs or panics opens
//! nothing.

mod address;
mod authorize;
mod grant;
#[cfg(feature = "limits")]
mod limits;
mod pattern;

use std::net::IpAddr;
use std::time::Duration;

pub use address::ClientAddress;
pub(crate) use address::UNKNOWN;
pub(crate) use authorize::{Authorizer, Authorizing, publish_refusal};
pub use authorize::{BoxError, Refusal};
pub use grant::Grant;
#[cfg(feature = "limits")]
#[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
pub use limits::Limit;
pub use pattern::Pattern;

/// What turns requests away for a while.
pub(crate) trait Gate: Send + Sync {
    /// When a request arrives, before it is authorised. `address`: what it is counted as, if the hub knows how to
    /// tell addresses.
    fn arrive(&self, address: Option<IpAddr>, coming: Coming) -> Passed;
    /// When it is known whose it is.
    fn admit(&self, identity: Option<&str>, address: Option<IpAddr>, coming: Coming) -> Passed;
}

/// What a stream is to be; a POST is always new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    New,
    /// It goes on with one that was open.
    Resuming,
    /// It takes the place of one that is open.
    Replacing,
}

/// What a gate says; with the place that the stream takes, if the gate counts those.
pub(crate) type Passed = Result<Option<Place>, Wait>;

/// Not now.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) time: Duration,
    pub(crate) reason: &'static str,
}

/// A place that a stream holds for as long as it lives.
pub(crate) type Place = Box<dyn Send + Sync>;
