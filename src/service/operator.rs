//! What operators read: GETs with an authorizer of their own, which are not there without one.

use http::request::Parts;
use http::{Method, Response, Uri};

use super::error::{Caller, Unopened};
use super::{RealtimeFuture, authorize, json, not_found, other_method};
use crate::access::Authorizer;
use crate::hub::Options;
use crate::{Hub, Refusal, SseBody};

/// An endpoint that is read.
pub(super) trait Figures: Send + 'static {
    /// Its path below the mount.
    const PATH: &'static str;

    /// Who may read it.
    fn authorizer(options: &Options) -> Option<&Authorizer<()>>;

    /// What it says, as JSON.
    fn read(hub: Hub, uri: Uri) -> impl Future<Output = Result<Vec<u8>, Refusal>> + Send;
}

/// Answers a request that is to be a GET. HEAD has the headers of one.
pub(super) fn answer<F: Figures>(hub: &Hub, parts: Parts) -> RealtimeFuture {
    if F::authorizer(&hub.shared.options).is_none() {
        return RealtimeFuture::ready(not_found());
    }
    match parts.method {
        Method::GET | Method::HEAD => RealtimeFuture::later(told::<F>(hub.clone(), parts)),
        _ => {
            let refusal = "this is read with GET";
            RealtimeFuture::ready(other_method(&parts.method, "GET, HEAD, OPTIONS", refusal))
        }
    }
}

async fn told<F: Figures>(hub: Hub, parts: Parts) -> Response<SseBody> {
    let caller = Caller::by_status(&hub, &parts, F::PATH);
    let is_head = parts.method == Method::HEAD;
    let response = match read::<F>(&hub, parts).await {
        Ok(figures) => json(figures),
        Err(why) => caller.refuse(&hub, &why, None),
    };
    if is_head { response.map(|_| SseBody::empty()) } else { response }
}

async fn read<F: Figures>(hub: &Hub, parts: Parts) -> Result<Vec<u8>, Unopened> {
    let options = &hub.shared.options;
    authorize::require_https(options, &parts)?;
    let Some(authorizer) = F::authorizer(options) else { return Ok(Vec::new()) };
    let uri = parts.uri.clone();
    authorizer.call(parts).await?;
    Ok(F::read(hub.clone(), uri).await?)
}
