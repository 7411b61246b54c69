//! Whose request it is: what holds for every endpoint.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::request::Parts;

use super::error::Unopened;
use crate::access::Authorizing;
use crate::hub::Options;
use crate::{Grant, Refusal};

pub(super) fn require_https(options: &Options, parts: &Parts) -> Result<(), Unopened> {
    let Some(is_https) = &options.is_https else { return Ok(()) };
    match catch_unwind(AssertUnwindSafe(|| is_https(parts))) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unopened::Plain),
        Err(_) => Err(Unopened::Refused(Refusal::error("`require_https` panicked"))),
    }
}

/// The grant of a request: by the authorizer, or what the app's middleware put into its extensions.
pub(super) fn grant(options: &Options, parts: Parts) -> Authorizing<Grant> {
    match &options.authorizer {
        Some(authorizer) => authorizer.call(parts),
        None => Authorizing::known(parts.extensions.get::<Grant>().cloned().unwrap_or_default()),
    }
}
