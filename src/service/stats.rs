//! `GET {mount}/stats`: which channels are followed, by how many streams and by whom.
//!
//! Of a user only the identity: what else is known of them is nobody's here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Uri;
use serde::Serialize;

use super::operator::Figures;
use crate::access::Authorizer;
use crate::hub::Options;
use crate::{Channel, Hub, Refusal};

/// Channels that are told; the first of them.
const MAX_CHANNELS: usize = 10_000;
/// Users that are told of one channel; the first of them.
const MAX_USERS: usize = 1000;
/// Places of sessions that are looked at in one go: the board is locked for as long.
const AT_ONCE: usize = 128;

pub(super) struct Stats;

impl Figures for Stats {
    const PATH: &'static str = "stats";

    fn authorizer(options: &Options) -> Option<&Authorizer<()>> {
        options.stats.as_ref()
    }

    async fn read(hub: Hub, _: Uri) -> Result<Vec<u8>, Refusal> {
        let mut tally = Tally::new(MAX_CHANNELS, MAX_USERS);
        let mut next = Some(0);
        while let Some(from) = next {
            let (streams, rest) = hub.shared.board.streams(from, AT_ONCE);
            streams.iter().for_each(|stream| tally.count(stream.identity.as_ref(), &stream.names.channels));
            next = rest;
            tokio::task::yield_now().await;
        }
        Ok(serde_json::to_vec(&tally.told())?)
    }
}

/// What was counted so far; of what is bounded the first by name. What falls out of a full set at its end never
/// comes back, for the end only moves up: so what stays was counted from the start.
struct Tally {
    connected: usize,
    channels: BTreeMap<Channel, Followers>,
    more: bool,
    max_channels: usize,
    max_users: usize,
}

#[derive(Default)]
struct Followers {
    clients: usize,
    online: BTreeSet<Arc<str>>,
    more: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    connected: usize,
    channels: Vec<ToldChannel<'a>>,
    /// There are more channels than are told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldChannel<'a> {
    name: &'a Channel,
    clients: usize,
    online_users: Vec<&'a str>,
    /// There are more users than are told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

impl Tally {
    fn new(max_channels: usize, max_users: usize) -> Self {
        Tally { connected: 0, channels: BTreeMap::new(), more: false, max_channels, max_users }
    }

    fn count(&mut self, user: Option<&Arc<str>>, channels: &[Channel]) {
        self.connected += 1;
        for channel in channels {
            let followers = self.channels.entry(channel.clone()).or_default();
            followers.clients += 1;
            if let Some(user) = user {
                followers.online.insert(user.clone());
                if followers.online.len() > self.max_users {
                    followers.online.pop_last();
                    followers.more = true;
                }
            }
            if self.channels.len() > self.max_channels {
                self.channels.pop_last();
                self.more = true;
            }
        }
    }

    fn told(&self) -> Told<'_> {
        let channels = self.channels.iter().map(|(name, followers)| ToldChannel {
            name,
            clients: followers.clients,
            online_users: followers.online.iter().map(|user| &**user).collect(),
            more: followers.more,
        });
        Told { connected: self.connected, channels: channels.collect(), more: self.more }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_bounded_tells_the_first_and_counts_them_right() {
        let room = |id: u32| Channel::new(("room", id)).unwrap();
        let stream = |n: u32| (Arc::from((n % 9).to_string()), [room(n % 3), room(3 + n % 4)]);
        let mut streams: Vec<_> = (0..90).map(stream).collect();
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20 {
            rng.shuffle(&mut streams);
            let mut tally = Tally::new(3, 2);
            streams.iter().for_each(|(user, channels)| tally.count(Some(user), channels));
            let told = serde_json::to_value(tally.told()).unwrap();
            let channel = |name: &str, users: [&str; 2]| json!({"name": name, "clients": 30, "onlineUsers": users, "more": true});
            let channels =
                [channel("room:0", ["0", "3"]), channel("room:1", ["1", "4"]), channel("room:2", ["2", "5"])];
            assert_eq!(told, json!({"connected": 90, "channels": channels, "more": true}));
        }
    }
}
