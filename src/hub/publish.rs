//! The way of a publish: checked, through the outbox, to the log.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::oneshot;

use super::builder::{Filter, millis};
use super::{Hub, Outgoing, Receipt, Shared, WeakHub};
use crate::event::{EventName, Readers};
use crate::key::collapse;
use crate::log::{Ack, AppendError, Record, RecordKind};
use crate::metrics::Merged;
use crate::proto::Millis;
use crate::revalidate::{Audience, Entry};
use crate::{
    Audit, Channel, Cursor, Fault, Grant, NameError, Origin, PublishError, QueryKey, Refusal, Revalidate,
};

impl Shared {
    /// Publishes what a handler said. It has nobody to tell, so that faults are logged and bounds collapse.
    pub(crate) fn publish_lenient(self: &Arc<Self>, mut revalidate: Revalidate, origin: Option<Origin>) {
        for fault in revalidate.faults.drain(..) {
            self.audit(&Audit::Fault(&fault));
        }
        let limit = self.options.publish_keys;
        for Entry { mut keys, audience, delay } in revalidate.entries {
            if audience == Audience::Everyone {
                let faults = self.keep_scoped(&mut keys);
                faults.iter().for_each(|fault| self.audit(&Audit::Fault(fault)));
            }
            if keys.is_empty() {
                continue;
            }
            let audiences = match audience {
                Audience::Everyone => vec![Audience::Everyone],
                Audience::Scopes(scopes) => {
                    scopes.chunks(limit).map(|scopes| Audience::Scopes(scopes.to_vec())).collect()
                }
            };
            for audience in audiences {
                let said = keys.len();
                collapse(&mut keys, limit / audience.topics().max(1));
                self.metrics.merged(Merged::Publish, said - keys.len());
                self.send(Outgoing::new(audience, keys.clone(), origin), delay);
            }
        }
    }

    /// Takes what is never for everyone out of what is for everyone.
    fn keep_scoped(&self, keys: &mut Vec<QueryKey>) -> Vec<Fault> {
        let scoped = |key: &QueryKey| self.options.scoped_keys.iter().any(|declared| declared.covers(key));
        let (refused, rest): (Vec<_>, _) = std::mem::take(keys).into_iter().partition(scoped);
        *keys = rest;
        refused.into_iter().map(Fault::Unscoped).collect()
    }

    pub(crate) fn audit(&self, audit: &Audit<'_>) {
        self.metrics.audited(audit);
        crate::audit::audit(self.options.on_audit.as_ref(), audit);
    }

    /// Publishes, or says why not.
    pub(super) fn publish_strict(self: &Arc<Self>, mut revalidate: Revalidate) -> Receipt {
        revalidate.pledges.drain(..).for_each(|pledge| pledge.settle());
        for entry in revalidate.entries.iter_mut().filter(|entry| entry.audience == Audience::Everyone) {
            revalidate.faults.extend(self.keep_scoped(&mut entry.keys));
        }
        // Also told to the audit: a receipt may be dropped.
        revalidate.faults.iter().for_each(|fault| self.audit(&Audit::Fault(fault)));
        if let Some(fault) = revalidate.faults.into_iter().next() {
            return Receipt::failed(fault);
        }
        let limit = self.options.publish_keys;
        for entry in &mut revalidate.entries {
            let said = entry.keys.len();
            collapse(&mut entry.keys, usize::MAX); // without doubles
            self.metrics.merged(Merged::Publish, said - entry.keys.len());
            let (keys, scopes) = (entry.keys.len(), entry.audience.topics().max(1));
            if keys.saturating_mul(scopes) > limit {
                return Receipt::failed(PublishError::TooMany { keys, scopes, limit });
            }
        }
        let mut told = Vec::new();
        for Entry { keys, audience, delay } in revalidate.entries {
            let mut outgoing = Outgoing::new(audience, keys, None);
            let (tell, hears) = oneshot::channel();
            outgoing.told.push(tell);
            told.push(hears);
            self.send(outgoing, delay);
        }
        self.receipt(told)
    }

    fn receipt(self: &Arc<Self>, told: Vec<oneshot::Receiver<Result<Cursor, PublishError>>>) -> Receipt {
        let hub = WeakHub(Arc::downgrade(self));
        Receipt::waiting(told, self.board.cursor(), self.dispatched.subscribe(), hub)
    }

    /// One receipt of several publishes; of none it says that all is well.
    pub(crate) fn join(self: &Arc<Self>, receipts: impl IntoIterator<Item = Receipt>) -> Receipt {
        self.receipt(receipts.into_iter().flat_map(Receipt::into_told).collect())
    }

    /// How long until something that waits is due.
    pub(super) fn until_due(&self) -> Option<Duration> {
        let due = self.outbox.lock().next_due()?;
        Some(Duration::from_millis(due.saturating_sub(self.clock.now()).max(1)))
    }

    /// Whether a client with this grant may publish to the channel.
    pub(crate) fn may_publish(&self, grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
        let is_known = !self.options.declared_channels_only || self.policies.declare(channel);
        match grant.identity() {
            _ if is_known && grant.may_publish(channel) => Ok(()),
            Some(_) => Err(Refusal::forbidden("the grant does not allow to publish to this channel")),
            None => Err(Refusal::unauthorized("only who is signed in may publish to this channel")),
        }
    }

    fn publish_message(
        self: &Arc<Self>,
        channel: Result<Channel, NameError>,
        to: Readers,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Receipt, PublishError> {
        let channel = channel?;
        if self.options.declared_channels_only && !self.policies.declare(&channel) {
            return Err(PublishError::Undeclared(channel));
        }
        if self.policies.keep_scoped(&channel) && self.policies.of(&channel).public {
            return Err(PublishError::Unscoped(channel));
        }
        let event = EventName::parse(event)?;
        let data = to_raw_value(data).map_err(|error| PublishError::Serialize(error.to_string()))?;
        let (bytes, limit) = (data.get().len(), self.options.payload_bytes);
        if bytes > limit {
            return Err(PublishError::TooLarge { bytes, limit });
        }
        let lets_out = |filter: &Filter| {
            catch_unwind(AssertUnwindSafe(|| filter(&channel, &event.0, data.get()))).unwrap_or_else(|_| {
                tracing::error!(%channel, "the filter panicked");
                false
            })
        };
        if !self.options.filter.as_ref().is_none_or(lets_out) {
            return Err(PublishError::Filtered(channel));
        }
        let (tell, hears) = oneshot::channel();
        if self.options.enabled {
            let record = Record(RecordKind::Message { channel, event: event.0, to, data });
            let ack = Ack::new(move |result| {
                if let Err(error) = &result {
                    // The receipt may be dropped.
                    tracing::warn!(%error, "the log did not take a message");
                }
                let _ = tell.send(result.map_err(PublishError::Log));
            });
            self.append(record, ack);
        } else {
            let _ = tell.send(Ok(self.board.cursor()));
        }
        Ok(self.receipt(vec![hears]))
    }

    /// Ends the sessions of a user, on every node.
    pub(super) fn regrant(self: &Arc<Self>, identity: String, signed_out: bool) -> Receipt {
        let (tell, hears) = oneshot::channel();
        let ack = Ack::new(move |result| {
            let _ = tell.send(result.map_err(PublishError::Log));
        });
        self.append(Record(RecordKind::Regrant { identity, signed_out }), ack);
        self.receipt(vec![hears])
    }

    /// Into the outbox, and through it unless it has to wait.
    fn send(self: &Arc<Self>, outgoing: Outgoing, delay: Duration) {
        if outgoing.audience.topics() == 0 || !self.options.enabled {
            return outgoing.tell(&Ok(self.board.cursor()));
        }
        let now = self.clock.now();
        self.flush(now);
        let offered = {
            let mut outbox = self.outbox.lock();
            if delay.is_zero() {
                outbox.offer(outgoing, now)
            } else {
                outbox.delay(outgoing, now.saturating_add(millis(delay))).map(|()| None)
            }
        };
        match offered {
            Ok(Some(outgoing)) => self.hand_on(outgoing),
            Ok(None) => self.kick(),
            Err(outgoing) => {
                tracing::error!("too many revalidations wait; one was refused");
                outgoing.tell(&Err(PublishError::Full));
            }
        }
    }

    /// Hands on what is due. Also called where something is published or opened, so that nothing waits for a
    /// task that does not run.
    pub(crate) fn flush(self: &Arc<Self>, now: Millis) {
        let (due, merged) = {
            let mut outbox = self.outbox.lock();
            if outbox.is_empty() {
                return;
            }
            (outbox.take_due(now), outbox.take_merged())
        };
        self.metrics.merged(Merged::Outbox, merged);
        due.into_iter().for_each(|outgoing| self.hand_on(outgoing));
    }

    fn hand_on(self: &Arc<Self>, outgoing: Outgoing) {
        let record = Record(RecordKind::Revalidate {
            audience: outgoing.audience.clone(),
            keys: outgoing.keys.clone(),
            origin: outgoing.origin,
        });
        let hub = WeakHub(Arc::downgrade(self));
        let ack = Ack::new(move |result| match result {
            Ok(at) => outgoing.tell(&Ok(at)),
            Err(error @ AppendError::Refused(_)) => {
                tracing::error!(%error, "the log refused a revalidation");
                outgoing.tell(&Err(error.into()));
            }
            // Idempotent, so it is tried again also when it may stand already.
            Err(error) => match hub.upgrade() {
                Some(hub) => hub.take_back(outgoing, error),
                None => outgoing.tell(&Err(error.into())),
            },
        });
        self.append(record, ack);
    }

    /// Hands a record to the log. A log that panics drops the `Ack`, which says that nobody knows.
    fn append(&self, record: Record, ack: Ack) {
        if catch_unwind(AssertUnwindSafe(|| self.log.append(record, ack))).is_err() {
            tracing::error!("the event log panicked");
        }
    }

    fn take_back(self: &Arc<Self>, outgoing: Outgoing, error: AppendError) {
        tracing::warn!(%error, "a revalidation waits for the log");
        let refused = self.outbox.lock().retry(outgoing, self.clock.now());
        match refused {
            Ok(()) => self.kick(),
            Err(outgoing) => {
                tracing::error!(%error, audience = ?outgoing.audience, "too many revalidations wait for the log; one is lost");
                outgoing.tell(&Err(error.into()));
            }
        }
    }
}

/// A channel to publish to; of [`Hub::channel`]. What is published is for all who follow it, unless it says
/// [`except`](Self::except) or [`only`](Self::only).
///
/// ```
/// # let hub = tower_revalidate::Hub::new();
/// let room = hub.channel(("room", 42));
/// room.publish("new_message", &"hello");
/// room.clone().except("alice").publish("cursor", &7); // alice moved it
/// room.only(["bob"]).publish("whisper", &"psst");
/// ```
#[derive(Debug, Clone)]
pub struct ChannelPublisher<'a> {
    pub(super) hub: &'a Hub,
    pub(super) channel: Result<Channel, NameError>,
    pub(super) to: Readers,
}

impl ChannelPublisher<'_> {
    /// Leaves out this user, with all sessions: what a user did need not come back to them. Sessions without a
    /// user hear it.
    #[must_use]
    pub fn except(mut self, identity: impl Display) -> Self {
        self.to = Readers::Except(identity.to_string().into());
        self
    }

    /// For these users alone, as far as they follow the channel; of none of them, nobody hears it. On a
    /// [`latest`](crate::Policy::latest) channel the others keep what they have, and come back to nothing.
    #[must_use]
    pub fn only(mut self, identities: impl IntoIterator<Item = impl Display>) -> Self {
        self.to = Readers::Only(identities.into_iter().map(|identity| identity.to_string().into()).collect());
        self
    }

    /// Publishes a message. What is refused is an error of the receipt.
    pub fn publish(&self, event: &str, data: &(impl Serialize + ?Sized)) -> Receipt {
        let published = self.hub.shared.publish_message(self.channel.clone(), self.to.clone(), event, data);
        published.unwrap_or_else(|error| {
            // The receipt may be dropped.
            tracing::warn!(%error, "a message was refused");
            Receipt::failed(error)
        })
    }
}
