//! `POST {mount}/broadcast`: a message of a trusted sender, such as an app that runs elsewhere.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::emit::{channel, payload};
use super::post::{malformed, parse};
use crate::access::publish_refusal;
use crate::event::EventName;
use crate::{Channel, Grant, Hub, Refusal};

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    /// `null`, too, but not nothing at all.
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct Done<'a> {
    success: bool,
    channel: &'a Channel,
}

/// Answers once it stands in the log (PROTOCOL R6).
pub(super) async fn take(hub: &Hub, grant: &Grant, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let said: Said<'_> = parse(body)?;
    let channel = channel(&said.channel)?;
    let event = said.event.as_deref().unwrap_or("broadcast");
    EventName::parse(event).map_err(|error| malformed(error.to_string()))?;
    payload(hub, said.payload)?;
    hub.shared.may_publish(grant, &channel)?;
    hub.channel(&channel).publish(event, said.payload).await.map_err(publish_refusal)?;
    Ok(serde_json::to_vec(&Done { success: true, channel: &channel })?)
}
