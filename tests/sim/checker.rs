//! The checker: reads what one session was given, knows what was due to it, and objects (PROTOCOL, last
//! section). An objection is a panic; the driver adds the seed.
//!
//! [`Session`] keeps what is *owed*: everything appended that the session may see, that its node knew, and
//! that was neither written nor covered by a gap. Every rule is a question to that list:
//!
//! - an id may be written when nothing up to it is owed (R1);
//! - a frame of keys must pay something owed, and may name an origin when all that it pays has it (R11);
//! - when nothing moves any more, nothing may be owed at all.

use std::collections::BTreeSet;

use serde_json::Value;
use tower_revalidate::{Cursor, Epoch, Event, QueryKey};

use super::ledger::{Ledger, What, serial};
use super::sse::{Block, Parser};
use super::world::{Access, Keep, keep};

/// Milliseconds of the virtual clock.
pub(crate) type Millis = u64;

/// What the hub of this history promised, beside the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A cursor ahead of the tip is strange at once.
    pub(crate) is_local: bool,
    pub(crate) gap_every: Millis,
    pub(crate) heartbeat: Millis,
    pub(crate) stall_after: Millis,
    /// The bounds are so wide, and the log so well, that nothing is ever forgotten.
    pub(crate) forgets_nothing: bool,
}

impl Rules {
    /// How late the hub may look after a session: it does so in one of four ticks.
    fn slack(&self) -> Millis {
        4 * (self.heartbeat.min(self.stall_after) / 16).clamp(10, 1000) + 20
    }
}

/// Where and when something happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Millis,
    /// What the session's node has heard up to.
    pub(crate) known: Cursor,
    /// The node was shut down.
    pub(crate) shut: bool,
    /// For how long the session has been woken and not polled.
    pub(crate) idle: Millis,
    /// The last offset of this epoch that the log trimmed before the node heard it.
    pub(crate) missed: u64,
}

/// What the client sent to resume.
#[derive(Debug, Clone)]
pub(crate) enum Came {
    Fresh,
    With(Cursor),
    Strange,
}

/// Who reads, and what of.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(crate) identity: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) follows: Vec<(String, Access)>,
    pub(crate) denied: Vec<(String, &'static str)>,
    pub(crate) expires: Option<Millis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `hello` has not been written.
    Greeting,
    /// Nothing may be written but the gap that says so: the cursor was strange, or the epoch ended.
    Astray,
    Open,
    Over,
}

enum Owed {
    Key(QueryKey, Option<String>),
    Message(String),
}

pub(crate) struct Session {
    viewer: Viewer,
    came: Came,
    rules: Rules,
    /// What the node knew when the request came: its grant is as old.
    asked: Cursor,
    opened: Moment,
    parser: Parser,
    stage: Stage,
    epoch: Epoch,
    /// What is owed is known up to here.
    counted: u64,
    owed: Vec<(u64, Owed)>,
    /// The highest id that was written or come with.
    acknowledged: u64,
    last_message: u64,
    last_gap: Option<Millis>,
    /// Channels whose current value may come without an id.
    currents: Vec<String>,
    /// A gap that covers everything stands further on in the same write.
    gap_follows: bool,
    wrote_at: Millis,
}

impl Session {
    pub(crate) fn open(viewer: Viewer, came: Came, rules: Rules, asked: Cursor, opened: Moment) -> Self {
        Session {
            viewer,
            came,
            rules,
            asked,
            opened,
            parser: Parser::default(),
            stage: Stage::Greeting,
            epoch: opened.known.epoch,
            counted: opened.known.offset,
            owed: Vec::new(),
            acknowledged: 0,
            last_message: 0,
            last_gap: None,
            currents: Vec::new(),
            gap_follows: false,
            wrote_at: opened.at,
        }
    }

    /// A subscription in process: it has no `hello`.
    pub(crate) fn subscribe(viewer: Viewer, rules: Rules, opened: Moment) -> Self {
        let mut session = Session::open(viewer, Came::Fresh, rules, opened.known, opened);
        session.start_at(opened.known);
        session
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// One write of a stream.
    pub(crate) fn wrote(&mut self, bytes: &[u8], now: Moment, truth: &Ledger) {
        assert!(!bytes.is_empty(), "an empty write");
        self.learn(now, truth);
        self.object_to_silence(now);
        self.wrote_at = now.at;
        let blocks = self.parser.feed(bytes);
        assert!(self.parser.is_between_blocks(), "a write ended inside of a block");
        let is_whole_gap = |block: &Block| block.event.as_deref() == Some("gap") && !has_channels(block);
        self.expect_gap(blocks.iter().any(is_whole_gap));
        for block in &blocks {
            self.block(block, now, truth);
        }
        assert!(self.stage != Stage::Astray || self.may_lag(now), "a strange cursor without its gap");
    }

    /// The events that a subscription had ready.
    pub(crate) fn heard(&mut self, events: &[Event], now: Moment, truth: &Ledger) {
        self.learn(now, truth);
        self.object_to_outliving(now, truth);
        let is_whole_gap = |event: &Event| matches!(event, Event::Gap(gap) if gap.channels.is_none());
        self.expect_gap(events.iter().any(is_whole_gap));
        for event in events {
            self.event(event, now, truth);
        }
    }

    fn event(&mut self, event: &Event, now: Moment, truth: &Ledger) {
        match event {
            Event::Revalidate(stale) => {
                self.revalidated(&stale.keys, stale.origin.map(|origin| origin.to_string()).as_ref());
            }
            Event::Message(message) => {
                let data = message.json().expect("JSON");
                self.message(None, message.channel.as_str(), &message.event, &data, now, truth);
            }
            Event::Gap(gap) => {
                let channels = gap.channels.as_ref();
                let channels = channels.map(|channels| channels.iter().map(ToString::to_string).collect());
                let reason = serde_json::to_value(gap.reason).expect("JSON");
                self.gap(reason.as_str().expect("a string"), channels, now, truth);
            }
            other => panic!("an event that the checker does not know: {other:?}"),
        }
    }

    /// The stream is over; the reason is its last word.
    pub(crate) fn ended(&mut self, reason: &str, now: Moment, truth: &Ledger) {
        // What was trimmed unheard, or happened in an epoch that is over, may have been a change of this grant.
        let unheard = self.asked.epoch != now.known.epoch || now.missed > self.asked.offset;
        let regranted = self.regranted(now, truth).is_some() || (unheard && self.viewer.identity.is_some());
        let justified = match reason {
            "shutdown" => now.shut,
            "grant" => regranted,
            "expired" => self.viewer.expires.is_some_and(|after| now.at >= self.opened.at + after),
            "stalled" => now.idle >= self.rules.stall_after,
            _ => false,
        };
        assert!(justified, "`bye` says {reason:?} for nothing");
        self.stage = Stage::Over;
    }

    /// Nothing moves any more. With `in_time`, everything that waits for a time had it, too.
    pub(crate) fn settled(&mut self, in_time: bool, now: Moment, truth: &Ledger) {
        if self.stage == Stage::Over {
            return;
        }
        self.learn(now, truth);
        self.object_to_outliving(now, truth);
        if self.stage == Stage::Greeting {
            let waits = matches!(self.came, Came::With(cursor) if cursor.offset > self.opened.known.offset);
            assert!(waits && !in_time, "nobody said `hello`");
            return;
        }
        // The hub looks after those that lag once in a while.
        let lags =
            self.last_gap.is_some_and(|last| now.at < last + self.rules.gap_every + self.rules.slack());
        if lags && !in_time {
            return;
        }
        assert!(self.stage == Stage::Open, "the gap of a new epoch was never told");
        self.object_to_owed(u64::MAX, now, truth, "it was never written, and no gap told");
    }

    /// Counts what is owed up to what the node knows.
    fn learn(&mut self, now: Moment, truth: &Ledger) {
        match self.stage {
            Stage::Open if now.known.epoch == self.epoch => {
                for (offset, what) in truth.range(self.epoch, self.counted, now.known.offset) {
                    let debts = self.due(offset, what);
                    self.owed.extend(debts.into_iter().map(|debt| (offset, debt)));
                }
                self.counted = self.counted.max(now.known.offset);
            }
            // A new epoch: nothing that this session knows can be compared with it.
            Stage::Open => self.stage = Stage::Astray,
            _ => {}
        }
    }

    /// What a record means to this viewer.
    fn due(&self, offset: u64, what: &What) -> Vec<Owed> {
        match what {
            What::Revalidate { audience, keys, origin } => {
                let heard = audience
                    .scopes()
                    .is_none_or(|scopes| self.viewer.scopes.iter().any(|own| scopes.contains(own)));
                keys.iter().filter(|_| heard).map(|key| Owed::Key(key.clone(), origin.clone())).collect()
            }
            What::Message { channel, .. } => {
                let due = match self.access(channel) {
                    None => false,
                    // What it missed is not sent to one who follows live, and a gap must say so.
                    Some(Access::Retained | Access::Live) => true,
                    Some(Access::Since(since)) => since.epoch != self.epoch || offset > since.offset,
                };
                let promised = due && keep(channel) != Keep::Ephemeral;
                promised.then(|| Owed::Message(channel.clone())).into_iter().collect()
            }
            What::Regrant { .. } => Vec::new(),
        }
    }

    fn access(&self, channel: &str) -> Option<Access> {
        self.viewer.follows.iter().find(|(name, _)| name == channel).map(|(_, access)| *access)
    }

    /// Nothing of the channel up to here may be written to this viewer.
    fn from(&self, channel: &str, epoch: Epoch) -> u64 {
        let access = self.access(channel).unwrap_or_else(|| panic!("{channel} is outside of the grant"));
        let opened = self.opened.known;
        match access {
            // The session was there when the epoch began.
            _ if opened.epoch != epoch => 0,
            _ if keep(channel) == Keep::Ephemeral => opened.offset,
            Access::Retained => 0,
            Access::Since(since) if since.epoch == epoch => since.offset,
            Access::Since(_) | Access::Live => opened.offset,
        }
    }

    fn block(&mut self, block: &Block, now: Moment, truth: &Ledger) {
        let data: Value =
            block.data.as_ref().map(|data| serde_json::from_str(data).expect("JSON")).unwrap_or_default();
        let id = block.id.as_ref().map(|id| id.parse::<Cursor>().expect("an id is a cursor"));
        assert!(self.stage != Stage::Over, "something was written after `bye`");
        let event = block.event.as_deref();
        if event != Some("bye") {
            self.object_to_outliving(now, truth);
        }
        match event {
            Some("hello") => return self.hello(&data, id, block, now, truth),
            Some("bye") => return self.ended(data["reason"].as_str().unwrap_or_default(), now, truth),
            Some(other) => assert!(self.stage != Stage::Greeting, "{other:?} before `hello`"),
            None => {}
        }
        match event {
            Some("revalidate") => {
                let keys: Vec<QueryKey> = serde_json::from_value(data["keys"].clone()).expect("keys");
                let origin = data.get("origin").map(|origin| origin.as_str().expect("a string").to_owned());
                assert!(data["spreadMs"].is_u64(), "a revalidation says no `spreadMs`");
                self.revalidated(&keys, origin.as_ref());
            }
            Some("message") => {
                let text = |name: &str| data[name].as_str().expect("a string").to_owned();
                self.message(Some(id), &text("channel"), &text("event"), &data["data"], now, truth);
            }
            Some("gap") => {
                assert!(data["spreadMs"].is_u64(), "a gap says no `spreadMs`");
                let channels = data
                    .get("channels")
                    .map(|channels| serde_json::from_value(channels.clone()).expect("names"));
                self.gap(data["reason"].as_str().unwrap_or_default(), channels, now, truth);
            }
            Some(other) => panic!("an event {other:?}"),
            None => {}
        }
        // A client may take its cursor from either (PROTOCOL, the wire).
        for told in block.comments.iter().filter_map(|comment| comment.parse().ok()).chain(id) {
            self.acknowledge(told, now, truth);
        }
    }

    /// R1 and R4: the id that it came with, or the position it starts at; none for a strange cursor.
    fn hello(&mut self, data: &Value, id: Option<Cursor>, block: &Block, now: Moment, truth: &Ledger) {
        assert!(self.stage == Stage::Greeting, "a second `hello`");
        assert!(
            block.retry.is_some_and(|retry| (1000..=4000).contains(&retry)),
            "`retry` is {:?}",
            block.retry
        );
        assert!(data["spreadMs"].is_u64(), "`hello` says no `spreadMs`");
        assert_eq!(data["heartbeatMs"], self.rules.heartbeat);
        let names: Vec<&str> = self.viewer.follows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(data["channels"], serde_json::json!(names));
        let denied =
            self.viewer.denied.iter().map(|(name, code)| serde_json::json!({"channel": name, "code": code}));
        assert_eq!(data["denied"], Value::Array(denied.collect()));
        let resumed = data["resumed"].as_bool().expect("`resumed`");
        let started = match self.came {
            Came::Fresh if now.known.epoch == self.opened.known.epoch => {
                assert!(!resumed, "a fresh session resumed");
                Some(self.opened.known)
            }
            Came::With(cursor) if self.may_resume(cursor, resumed, now, truth) => Some(cursor),
            // The epoch ended before it was greeted, or the cursor was strange.
            _ => None,
        };
        assert_eq!(id, started, "the id of `hello`, for one who came with {:?}", self.came);
        assert_eq!(resumed, started.is_some() && !matches!(self.came, Came::Fresh), "`resumed`");
        match started {
            Some(at) => self.start_at(at),
            None => self.stage = Stage::Astray,
        }
        self.learn(now, truth);
    }

    fn start_at(&mut self, at: Cursor) {
        self.stage = Stage::Open;
        self.epoch = at.epoch;
        self.counted = at.offset;
        self.acknowledged = at.offset;
        self.renew_currents();
    }

    /// Whether the cursor is understood and above the floor of its identity. Floors share buckets, so where
    /// something was forgotten the hub may say no without need.
    fn may_resume(&self, cursor: Cursor, resumed: bool, now: Moment, truth: &Ledger) -> bool {
        let opened = self.opened.known;
        if cursor.epoch != now.known.epoch || cursor.epoch != opened.epoch {
            return false;
        }
        if cursor.offset > now.known.offset || (self.rules.is_local && cursor.offset > opened.offset) {
            let waited = now.at - self.opened.at;
            let in_time = (4000..=5000 + now.idle).contains(&waited);
            assert!(self.rules.is_local || in_time || resumed, "it waited for its node for {waited} ms");
            return false;
        }
        let own = self.viewer.identity.as_ref();
        let (epoch, from, to) = (cursor.epoch, cursor.offset, now.known.offset);
        if own.is_some_and(|own| truth.regranted(epoch, own, from, to).is_some()) {
            return false;
        }
        let shares = !self.rules.forgets_nothing || truth.anyone_regranted(epoch, from, to);
        resumed || own.is_none() || !shares
    }

    fn revalidated(&mut self, keys: &[QueryKey], origin: Option<&String>) {
        assert!(self.stage == Stage::Open, "keys before the gap of a new epoch");
        assert!(!keys.is_empty(), "a revalidation of nothing");
        for prefix in keys {
            // Only what is forgotten is collapsed to prefixes.
            let pays = |key: &QueryKey| prefix == key || (!self.rules.forgets_nothing && prefix.covers(key));
            let justified = self.owed.iter().any(|(_, owed)| matches!(owed, Owed::Key(key, _) if pays(key)));
            assert!(justified, "no change that is due justifies {prefix}");
        }
        let mut origins = BTreeSet::new();
        self.owed.retain(|(offset, owed)| {
            let Owed::Key(key, by) = owed else { return true };
            let paid = keys.iter().any(|prefix| prefix.covers(key));
            if paid {
                origins.insert(by.clone());
                let told = origin.is_none() || by.as_ref() == origin;
                assert!(told, "{key} at {offset:x} was changed by {by:?}, and {origin:?} is told");
            }
            !paid
        });
        let one = origins.first().filter(|_| origins.len() == 1).and_then(Option::as_ref);
        assert!(!self.rules.forgets_nothing || origin == one, "{one:?} changed it, and {origin:?} is told");
    }

    /// `id` is what the frame has; none in process, where nothing has ids.
    fn message(
        &mut self,
        id: Option<Option<Cursor>>,
        channel: &str,
        event: &str,
        data: &Value,
        now: Moment,
        truth: &Ledger,
    ) {
        let from = self.from(channel, now.known.epoch);
        let at = truth.message(serial(data)).unwrap_or_else(|| panic!("{data} was never appended"));
        let told = matches!(truth.get(at), Some(What::Message { channel: c, event: e, data: d })
            if c == channel && e == event && d == data);
        assert!(told, "{data} was appended as {:?}", truth.get(at));
        assert!(at.epoch == now.known.epoch && at.offset <= now.known.offset, "{at} is not known yet");
        assert!(at.offset > from, "{at} is from before the grant");
        let is_current = keep(channel) == Keep::Latest
            && match id {
                Some(id) => id.is_none(),
                None => self.expects_current(channel) && (self.gap_follows || at.offset <= self.acknowledged),
            };
        if is_current {
            return self.current(at, channel, from, now, truth);
        }
        assert!(self.stage == Stage::Open, "a message before the gap of a new epoch");
        let expected = Some(at).filter(|_| keep(channel) != Keep::Ephemeral);
        assert!(id.is_none_or(|id| id == expected), "{at} has the id {id:?}");
        assert!(at.offset > self.acknowledged, "{at} again, after {:x} acknowledged it", self.acknowledged);
        assert!(at.offset > self.last_message, "{at} after {:x}: order", self.last_message);
        self.last_message = at.offset;
        self.pay(at);
    }

    /// The current value of a `latest` channel: when a session opens, and with a gap that covers everything.
    fn current(&mut self, at: Cursor, channel: &str, from: u64, now: Moment, truth: &Ledger) {
        assert!(self.expects_current(channel), "{at} has no id");
        assert!(self.access(channel) != Some(Access::Live), "a value from before for one who follows live");
        let newest = truth.newest(at.epoch, channel, from, now.known.offset);
        assert_eq!(newest, Some(at.offset), "not the current value of {channel}");
        self.currents.retain(|name| name != channel);
        self.pay(at);
    }

    fn pay(&mut self, at: Cursor) {
        self.owed.retain(|(offset, owed)| *offset != at.offset || matches!(owed, Owed::Key(..)));
    }

    fn expect_gap(&mut self, follows: bool) {
        self.gap_follows = follows;
        if follows {
            self.renew_currents();
        }
    }

    fn expects_current(&self, channel: &str) -> bool {
        self.currents.iter().any(|name| name == channel)
    }

    fn renew_currents(&mut self) {
        let latest = self.viewer.follows.iter().filter(|(name, _)| keep(name) == Keep::Latest);
        self.currents = latest.map(|(name, _)| name.clone()).collect();
    }

    /// R5: one is enough. It covers what the node knows.
    fn gap(&mut self, reason: &str, channels: Option<Vec<String>>, now: Moment, truth: &Ledger) {
        // Floors share buckets, also with those of users whose grants changed.
        let Cursor { epoch, offset } = now.known;
        let forgot = !self.rules.forgets_nothing || truth.anyone_regranted(epoch, 0, offset);
        assert!(!self.may_lag(now), "a second gap after {} ms", now.at - self.last_gap.unwrap_or_default());
        self.last_gap = Some(now.at);
        match channels {
            Some(channels) => {
                assert!(self.stage == Stage::Open, "the gap of a new epoch covers everything");
                for channel in &channels {
                    let access = self
                        .access(channel)
                        .unwrap_or_else(|| panic!("a gap in {channel}, which is outside of the grant"));
                    let away = match access {
                        Access::Live => true,
                        Access::Since(since) => since.epoch != self.epoch,
                        Access::Retained => false,
                    };
                    assert!(away || forgot, "a gap in {channel}, where nothing was forgotten");
                }
                let covered =
                    |owed: &Owed| matches!(owed, Owed::Message(channel) if channels.contains(channel));
                self.owed.retain(|(_, owed)| !covered(owed));
            }
            None => {
                let astray = self.stage == Stage::Astray;
                assert!(astray || forgot, "a gap in everything, where nothing was forgotten");
                assert_eq!(astray, reason != "evicted", "the reason of a gap: {reason}");
                self.gap_follows = false;
                self.owed.clear();
                self.stage = Stage::Open;
                if self.epoch != now.known.epoch || astray {
                    self.acknowledged = 0;
                    self.last_message = 0;
                }
                self.epoch = now.known.epoch;
                self.counted = now.known.offset;
            }
        }
    }

    /// R1: nothing up to an id is owed when it is written, and no id is lower than one before.
    fn acknowledge(&mut self, id: Cursor, now: Moment, truth: &Ledger) {
        assert!(self.stage == Stage::Open, "{id} before the gap of a new epoch");
        assert_eq!(id.epoch, self.epoch, "the epoch of an id");
        assert!(id.offset <= now.known.offset, "{id} acknowledges what the node does not know");
        assert!(id.offset >= self.acknowledged, "{id} is lower than {:x}", self.acknowledged);
        self.acknowledged = id.offset;
        self.object_to_owed(id.offset, now, truth, &format!("{id} acknowledges it"));
    }

    fn object_to_owed(&self, up_to: u64, now: Moment, truth: &Ledger, why: &str) {
        for (offset, owed) in self.owed.iter().filter(|(offset, _)| *offset <= up_to) {
            match owed {
                Owed::Key(key, _) => panic!("{key} at {offset:x} is owed: {why}"),
                // A superseded value is outside of the promise.
                Owed::Message(channel) if keep(channel) == Keep::Latest => {
                    let newest = truth.newest(self.epoch, channel, *offset, now.known.offset);
                    assert!(newest.is_some(), "the value of {channel} at {offset:x} is owed: {why}");
                }
                Owed::Message(channel) => panic!("the message of {channel} at {offset:x} is owed: {why}"),
            }
        }
    }

    /// R10 and expiry: a session that must have ended writes nothing but `bye`.
    fn object_to_outliving(&self, now: Moment, truth: &Ledger) {
        let ended = self.regranted(now, truth);
        assert!(ended.is_none(), "it lives on after its grant changed at {ended:?}");
        if let Some(after) = self.viewer.expires {
            assert!(now.at <= self.opened.at + after + self.rules.slack(), "it lives on after it expired");
        }
    }

    /// The change of grant that ended this session, as far as its node knows. One that came while the grant was
    /// being made counts.
    fn regranted(&self, now: Moment, truth: &Ledger) -> Option<u64> {
        let own = self.viewer.identity.as_ref()?;
        let Cursor { epoch, offset } = now.known;
        let since = if self.asked.epoch == epoch { self.asked.offset } else { truth.base(epoch) };
        truth.regranted(epoch, own, since, offset)
    }

    /// A stream that is read is never silent for longer than a heartbeat.
    fn object_to_silence(&self, now: Moment) {
        let silent = now.at - self.wrote_at;
        let allowed = self.rules.heartbeat + self.rules.slack();
        assert!(silent <= allowed + now.idle, "silent for {silent} ms");
    }

    fn may_lag(&self, now: Moment) -> bool {
        self.last_gap.is_some_and(|last| now.at < last + self.rules.gap_every)
    }
}

fn has_channels(block: &Block) -> bool {
    let data = block.data.as_deref().and_then(|data| serde_json::from_str::<Value>(data).ok());
    data.is_some_and(|data| data.get("channels").is_some())
}
