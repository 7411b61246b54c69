//! [`ClientEvent`]: what a handler is given.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Channel, ChannelPublisher, Grant, Hub, Receipt};

/// An event that a client emitted, as its handler is given it; of [`Hub::on`]. Who sent it, and when, is what the
/// server knows, whatever the payload says.
///
/// What is published through it is on its channel, and the answer to the client waits until that stands in the
/// log; where the log does not take it, the answer is an error.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientEvent<T = Value> {
    /// The payload.
    pub data: T,
    pub(super) context: Context,
}

#[derive(Debug)]
pub(super) struct Context {
    pub(super) hub: Hub,
    pub(super) channel: Channel,
    pub(super) event: Box<str>,
    pub(super) grant: Grant,
    pub(super) at: SystemTime,
    pub(super) receipts: Arc<Mutex<Vec<Receipt>>>,
}

impl<T> ClientEvent<T> {
    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.context.hub
    }

    /// The channel it was emitted on.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.context.channel
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.context.event
    }

    /// Who sent it; none for an anonymous one.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.context.grant.identity()
    }

    /// What others may see of the sender.
    #[must_use]
    pub fn info(&self) -> Option<&Value> {
        self.context.grant.public_info()
    }

    /// The sender's grant. Of `leave` only who it was is known.
    pub fn grant(&self) -> &Grant {
        &self.context.grant
    }

    /// When the server had it.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        self.context.at
    }

    /// Publishes on the channel, for everyone who follows it.
    pub fn publish(&self, event: &str, data: &(impl Serialize + ?Sized)) {
        self.keep(self.followers().publish(event, data));
    }

    /// Publishes on the channel, for everyone but the sender, in all of their sessions. Without an identity
    /// nobody can be told from the sender, and everyone hears.
    pub fn to_others(&self, event: &str, data: &(impl Serialize + ?Sized)) {
        let others = match self.identity() {
            Some(sender) => self.followers().except(sender),
            None => self.followers(),
        };
        self.keep(others.publish(event, data));
    }

    /// Publishes on the channel, for the sender alone, in all of their sessions that follow it. Without an
    /// identity it is for nobody.
    pub fn to_sender(&self, event: &str, data: &(impl Serialize + ?Sized)) {
        self.to_users(self.identity(), event, data);
    }

    /// Publishes on the channel, for these users as far as they follow it.
    pub fn to_users(
        &self,
        ids: impl IntoIterator<Item = impl Display>,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) {
        self.keep(self.followers().only(ids).publish(event, data));
    }

    fn followers(&self) -> ChannelPublisher<'_> {
        self.context.hub.channel(&self.context.channel)
    }

    fn keep(&self, receipt: Receipt) {
        self.context.receipts.lock().push(receipt);
    }
}

impl ClientEvent<Box<RawValue>> {
    /// Passes it on under this name, with what the server says of it.
    pub(super) fn relay(&self, event: &str) {
        #[derive(Serialize)]
        struct Relayed<'a> {
            by: Option<&'a str>,
            at: u128,
            data: &'a RawValue,
        }
        let at = self.at().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.to_others(event, &Relayed { by: self.identity(), at, data: &self.data });
    }
}
