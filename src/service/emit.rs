//! `POST {mount}/emit`: an event of a client, for whoever handles it.

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::post::{malformed, parse};
use crate::emit::Emitted;
use crate::key::nests_over;
use crate::{Channel, Grant, Hub, Refusal};

/// How deep the arrays and objects of a payload are nested at most: it is passed on to clients that stop somewhere.
const MAX_NESTING: usize = 100;

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

pub(super) async fn take(hub: &Hub, grant: Grant, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let said: Said<'_> = parse(body)?;
    let channel = channel(&said.channel)?;
    let data = said.data.unwrap_or(RawValue::NULL);
    payload(hub, data)?;
    let event = said.event.as_ref().into();
    hub.emit(Emitted { grant, channel, event, data: data.to_owned() }).await
}

pub(super) fn channel(name: &str) -> Result<Channel, Refusal> {
    Channel::parse(name).map_err(|error| malformed(format!("the channel was refused: {error}")))
}

/// Refuses what others could not read: `RawValue` itself does not look into strings and numbers, nor count how deep
/// it is.
pub(super) fn payload(hub: &Hub, data: &RawValue) -> Result<(), Refusal> {
    let limit = hub.shared.options.payload_bytes;
    if data.get().len() > limit {
        let message = format!("the payload is over the limit of {limit} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "toolarge", message));
    }
    let value: Value = parse(data.get().as_bytes())?;
    match nests_over(&value, MAX_NESTING) {
        true => Err(malformed(format!("the payload is nested over the limit of {MAX_NESTING}"))),
        false => Ok(()),
    }
}
