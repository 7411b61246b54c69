//! How much a hub holds, whatever clients and handlers do.

use std::time::Duration;

use super::{Builder, millis};

/// # How much it holds
impl Builder {
    /// Sessions at the same time. Default 100 000.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.board.sessions = sessions;
        self
    }

    /// Places of sessions in lists of topics, over all sessions. Default 1 000 000.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.board.subscriptions = subscriptions;
        self
    }

    /// Channels of one session. Default 256; more are refused with 400.
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.options.channels = channels;
        self
    }

    /// Scopes that are used of a grant. Default 64; the rest is told in the log.
    pub fn max_scopes(mut self, scopes: usize) -> Self {
        self.options.scopes = scopes;
        self
    }

    /// Bytes of a stream's query. Default 8 192; more are refused with 400.
    pub fn max_query_bytes(mut self, bytes: usize) -> Self {
        self.options.query_bytes = bytes;
        self
    }

    /// Bytes of a message's payload as JSON. Default 65 536.
    pub fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.options.payload_bytes = bytes;
        self
    }

    /// Events of clients in work at the same time. Default 1 024; more are refused with 503 `busy`.
    pub fn max_emits(mut self, events: usize) -> Self {
        self.options.emits = events;
        self
    }

    /// How long the body of a POST may take to arrive. Default 10 s; a slower one is refused with 408 `timeout`.
    pub fn body_timeout(mut self, time: Duration) -> Self {
        self.options.body_timeout = time;
        self
    }

    /// Keys times scopes of one `Revalidate`, and keys of one event. Default 1 024. Over it the layer
    /// collapses keys to prefixes, and [`Hub::revalidate`](crate::Hub::revalidate) refuses.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.options.publish_keys = keys;
        self.board.read.keys = keys;
        self
    }

    /// Keys retained of one audience; past it they collapse to prefixes. Default 1 024.
    pub fn retain_keys(mut self, keys: usize) -> Self {
        self.retention.keys = keys;
        self
    }

    /// Bytes retained over all topics. Default 64 MiB, at least twice what one channel may hold.
    pub fn retain_bytes(mut self, bytes: usize) -> Self {
        self.retention.bytes = bytes;
        self
    }

    /// Bytes retained of one channel. Default 1 MiB, at least twice a payload.
    pub fn retain_channel_bytes(mut self, bytes: usize) -> Self {
        self.retention.channel_bytes = bytes;
        self
    }

    /// Topics of which something is retained. Default 65 536; past it the ones silent for longest go.
    pub fn retain_topics(mut self, topics: usize) -> Self {
        self.retention.topics = topics;
        self
    }

    /// How long a message is retained; and the keys of an audience, counted from the last of them. Default 1 h.
    pub fn retain_for(mut self, time: Duration) -> Self {
        self.retention.age = millis(time);
        self
    }

    /// Bytes of one write to one stream; a larger event still goes whole. Default 65 536.
    pub fn write_bytes(mut self, bytes: usize) -> Self {
        self.board.read.stretch.bytes = bytes;
        self
    }

    /// Events of one write to one stream. Default 256.
    pub fn write_events(mut self, events: usize) -> Self {
        self.board.read.stretch.events = events;
        self
    }

    /// Revalidations that wait, for their interval, their delay or the log. Default 65 536, one an audience;
    /// more are refused.
    pub fn max_pending(mut self, revalidations: usize) -> Self {
        self.pending = revalidations;
        self
    }

    /// Bytes of the revalidations that wait. Default 64 MiB; past it the keys of one that waits collapse to
    /// everything, and one that is alone too large is refused.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.pending_bytes = bytes;
        self
    }
}
