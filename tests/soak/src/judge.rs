//! [`Judge`]: reads what one stream was given, knows what was due to it, and objects by a panic. The rules of
//! the simulator's checker (`tests/sim/checker.rs`), as far as they can be seen from outside of the process:
//! what the server knew at each write is not known here, only what was appended by now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use tower_revalidate::Cursor;

use crate::common::sse::Frame;
use crate::world::{Ledger, Truth, What, audiences, may_follow};

/// What the client sent to resume.
#[derive(Debug, Clone)]
pub(crate) enum Came {
    Fresh,
    With(Cursor),
    /// What no server understands.
    Strange,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Greeting,
    /// The cursor was strange: the gap that says so comes next.
    Astray,
    Open,
    Over,
}

#[derive(Debug)]
pub(crate) struct Judge {
    truth: Arc<Truth>,
    user: Option<u32>,
    came: Came,
    asked: Vec<String>,
    /// What was known when the request was sent, and when `hello` came.
    sent_at: u64,
    greeted_at: u64,
    sent_version: usize,
    followed: Vec<String>,
    stage: Stage,
    start: u64,
    pub(crate) acknowledged: u64,
    last_message: u64,
    /// Up to where the messages of a channel were delivered; and up to where a gap excuses the rest.
    through: HashMap<String, u64>,
    excused: HashMap<String, u64>,
    keys_through: u64,
    /// A value of the board that was acknowledged and not written, and what was known then.
    suspect: Option<(u64, u64)>,
    /// The keys that were told, with what was known then.
    told: Vec<(u64, HashSet<String>)>,
}

impl Judge {
    pub(crate) fn new(truth: Arc<Truth>, user: Option<u32>, came: Came, asked: Vec<String>) -> Self {
        let (sent_at, sent_version) = {
            let ledger = truth.ledger();
            (ledger.tip(), ledger.versions(user).0)
        };
        Judge {
            truth,
            user,
            came,
            asked,
            sent_at,
            greeted_at: 0,
            sent_version,
            followed: Vec::new(),
            stage: Stage::Greeting,
            start: 0,
            acknowledged: 0,
            last_message: 0,
            through: HashMap::new(),
            excused: HashMap::new(),
            keys_through: 0,
            suspect: None,
            told: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// One block of the stream.
    pub(crate) async fn read(&mut self, frame: &Frame) {
        let id = frame.id.as_ref().map(|id| id.parse::<Cursor>().expect("an id is a cursor"));
        if let Some(id) = id {
            assert_eq!(id.epoch, self.truth.epoch, "the epoch of an id");
            self.truth.knows(id.offset).await;
        }
        let truth = self.truth.clone();
        let ledger = truth.ledger();
        assert!(self.stage != Stage::Over, "{frame:?} after `bye`");
        assert!(
            self.stage != Stage::Greeting || ["hello", "bye"].contains(&&*frame.name),
            "{frame:?} before `hello`"
        );
        match frame.name.as_str() {
            "hello" => return self.hello(&frame.json(), id, &ledger),
            "message" => self.message(&frame.json(), id, &ledger),
            "revalidate" => self.revalidate(&frame.json(), &ledger),
            "gap" => self.gap(&frame.json(), id, &ledger),
            "bye" => self.bye(&frame.json(), &ledger),
            _ => {}
        }
        if let Some(id) = id {
            self.acknowledge(id.offset, &ledger);
        }
    }

    fn hello(&mut self, data: &Value, id: Option<Cursor>, ledger: &Ledger) {
        assert_eq!(self.stage, Stage::Greeting, "a second `hello`");
        self.greeted_at = ledger.tip();
        self.followed = serde_json::from_value(data["channels"].clone()).expect("names");
        let (_, last) = ledger.versions(self.user);
        let granted = (self.sent_version..=last).any(|version| {
            let granted = self.asked.iter().filter(|channel| may_follow(self.user, version, channel));
            granted.eq(&self.followed)
        });
        assert!(granted, "{:?} follows {:?} of {:?}", self.user, self.followed, self.asked);
        let resumed = data["resumed"].as_bool().expect("`resumed`");
        match (&self.came, id) {
            (Came::Fresh, Some(_)) => assert!(!resumed),
            (Came::With(cursor), Some(id)) => {
                assert!(resumed && *cursor == id, "came with {cursor}, and was told {id}");
                let regrants =
                    self.user.map_or(&[][..], |user| ledger.regrants(user, id.offset, self.sent_at));
                assert!(regrants.is_empty(), "{cursor} resumed past a change of the grant at {regrants:?}");
            }
            (Came::With(_) | Came::Strange, None) => {
                assert!(!resumed);
                self.stage = Stage::Astray;
                return;
            }
            (came, id) => panic!("`hello` says {id:?} to one who came with {came:?}"),
        }
        self.begin(id.expect("one of those above").offset);
    }

    fn begin(&mut self, at: u64) {
        self.stage = Stage::Open;
        (self.start, self.acknowledged, self.keys_through) = (at, at, at);
        self.through = self.followed.iter().map(|channel| (channel.clone(), at)).collect();
    }

    fn message(&mut self, data: &Value, id: Option<Cursor>, ledger: &Ledger) {
        let channel = data["channel"].as_str().expect("a name");
        let number = data["data"]["number"].as_u64().expect("a number");
        assert!(self.followed.iter().any(|own| own == channel), "{channel} is outside of the grant");
        let said = What::Message { channel: channel.to_owned(), number };
        let Some(id) = id else {
            // The current value of a `latest` channel.
            assert_eq!(channel, "board", "a message without an id");
            return;
        };
        let at = id.offset;
        assert_eq!(self.stage, Stage::Open, "a message to one who does not know where it is");
        assert_eq!(ledger.at(at), Some(&said), "what stands at {id}");
        assert!(at > self.acknowledged && at > self.last_message, "{id} again, or late");
        self.last_message = at;
        if let Some(user) = self.user {
            let ended = ledger.regrants(user, self.greeted_at, at);
            assert!(ended.is_empty(), "{id} after the grant changed at {ended:?}");
        }
        if channel != "board" {
            self.object_to_missing(channel, at - 1, ledger);
        }
        self.through.insert(channel.to_owned(), at);
    }

    fn revalidate(&mut self, data: &Value, ledger: &Ledger) {
        assert_eq!(self.stage, Stage::Open, "keys to one who does not know where it is");
        let keys: Vec<Vec<Value>> = serde_json::from_value(data["keys"].clone()).expect("keys");
        assert!(!keys.is_empty());
        let own = audiences(self.user);
        for key in &keys {
            if let Some(audience) = key.first() {
                assert!(own.iter().any(|own| audience == own), "{key:?} is outside of the grant");
            }
            if let [audience, _, number] = &key[..] {
                let at = number.as_u64().expect("a number");
                let audience = audience.as_str().unwrap_or_default().to_owned();
                let stands = ledger.at(at) == Some(&What::Key { audience, number: at });
                // The driver may hear of its newest event later than a client does.
                assert!(stands || at == ledger.tip() + 1, "{key:?} was never said");
                assert!(at > self.start, "{key:?} was said before this stream began");
            }
        }
        let keys = keys.into_iter().map(|key| Value::Array(key).to_string()).collect();
        self.told.push((ledger.tip() + 1, keys));
    }

    fn gap(&mut self, data: &Value, id: Option<Cursor>, ledger: &Ledger) {
        match data.get("channels") {
            Some(channels) => {
                assert_eq!(self.stage, Stage::Open, "a gap in one channel to one who is astray");
                let channels: Vec<String> = serde_json::from_value(channels.clone()).expect("names");
                for channel in channels {
                    assert!(self.followed.contains(&channel), "a gap in {channel}, outside of the grant");
                    self.excused.insert(channel, ledger.tip());
                }
            }
            None => {
                let reason = data["reason"].as_str().unwrap_or_default();
                let justified = match (&self.came, self.stage) {
                    (Came::Strange, Stage::Astray) => reason == "unknown",
                    (Came::With(cursor), Stage::Astray) if cursor.epoch != self.truth.epoch => {
                        reason == "unknown"
                    }
                    (Came::With(cursor), Stage::Astray) if cursor.offset > ledger.tip() => reason == "ahead",
                    // Floors share buckets, so that another's change may count.
                    (Came::With(_), Stage::Astray) => reason == "grant" && self.user.is_some(),
                    _ => reason == "evicted",
                };
                assert!(justified, "a gap because of {reason:?} for one who came with {:?}", self.came);
                let at = id.expect("a gap that covers everything has an id").offset;
                self.begin(at);
            }
        }
    }

    fn bye(&mut self, data: &Value, ledger: &Ledger) {
        let reason = data["reason"].as_str().unwrap_or_default();
        let justified = match reason {
            "grant" => {
                let user = self.user.expect("the grant of nobody changed");
                let (known, last) = ledger.versions(Some(user));
                known != last || !ledger.regrants(user, self.sent_at, u64::MAX).is_empty()
            }
            "expired" | "stalled" => true, // for how long the server waited is not known here
            _ => false,
        };
        assert!(justified, "`bye` says {reason:?} for nothing");
        self.stage = Stage::Over;
    }

    /// An id acknowledges everything up to it.
    fn acknowledge(&mut self, id: u64, ledger: &Ledger) {
        assert_eq!(self.stage, Stage::Open, "{id:x} before the gap");
        assert!(id >= self.acknowledged, "{id:x} is lower than {:x}", self.acknowledged);
        self.acknowledged = id;
        for channel in self.followed.clone() {
            if channel == "board" {
                self.supersedable(id, ledger);
            } else {
                self.object_to_missing(&channel, id, ledger);
            }
            let through = self.through.entry(channel).or_default();
            *through = id.max(*through);
        }
        for audience in audiences(self.user) {
            for at in ledger.keys(&audience, self.keys_through, id) {
                let Some(What::Key { number, .. }) = ledger.at(*at) else { continue };
                let key = format!("[\"{audience}\",\"item\",{number}]");
                let prefixes =
                    [key, format!("[\"{audience}\",\"item\"]"), format!("[\"{audience}\"]"), "[]".into()];
                let paid = |keys: &HashSet<String>| prefixes.iter().any(|prefix| keys.contains(prefix));
                let paid = self.told.iter().any(|(_, keys)| paid(keys));
                assert!(
                    paid,
                    "{id:x} acknowledges the key {} at {at:x}, which was never written",
                    prefixes[0]
                );
            }
        }
        self.keys_through = id.max(self.keys_through);
        self.told.retain(|(known, _)| *known > id);
    }

    /// A value that was superseded is not sent. The one that did so may be the event that the driver does not know
    /// yet, and that tells the next time.
    fn supersedable(&mut self, id: u64, ledger: &Ledger) {
        if let Some((at, tip)) = self.suspect.take_if(|(_, tip)| ledger.tip() > *tip) {
            let superseded =
                matches!(ledger.at(tip + 1), Some(What::Message { channel, .. }) if channel == "board");
            assert!(superseded, "the value of the board at {at:x} was never written");
        }
        let newest = ledger.messages("board", self.through["board"], u64::MAX).last();
        if let Some(at) = newest.filter(|at| **at <= id) {
            self.suspect = self.suspect.or(Some((*at, ledger.tip())));
        }
    }

    /// No message of the channel up to here is missing.
    fn object_to_missing(&self, channel: &str, up_to: u64, ledger: &Ledger) {
        let excused = self.excused.get(channel).copied().unwrap_or_default();
        let missing = ledger.messages(channel, self.through[channel].max(excused), up_to);
        assert!(missing.is_empty(), "{missing:x?} of {channel} were never written, and no gap told");
    }
}
