//! [`Event`]: what a session hears; the vocabulary of what stands in a frame.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Channel, QueryKey, Revalidate};

/// What an in-process [`Subscription`](crate::Subscription) receives; a stream carries the same as frames.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Keys became stale since the last event: their union, each once.
    Revalidate(Stale),
    /// A message on a channel.
    Message(Message),
    /// Something was missed; refetch what it names.
    Gap(Gap),
}

/// The keys that became stale.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stale {
    /// Sorted, without doubles and without keys that another one covers.
    pub keys: Vec<QueryKey>,
    /// The request that changed all of them (its `X-Revalidate-Id`), if one did.
    pub origin: Option<Origin>,
}

/// A message on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The channel it was published to.
    pub channel: Channel,
    /// The event's name.
    pub event: String,
    /// The payload, as JSON.
    pub data: Bytes,
}

impl Message {
    /// Reads the payload.
    ///
    /// # Errors
    /// When the payload is not of this shape.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.data)
    }
}

/// Something was missed and is not kept any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The channels concerned; none: everything.
    pub channels: Option<Vec<Channel>>,
}

/// Why something was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GapReason {
    /// Retention no longer holds it.
    Evicted,
    /// The cursor is not of this order: malformed, or of another life of the server.
    Unknown,
    /// The cursor is ahead of everything that this server knows.
    Ahead,
    /// The grant changed since.
    Grant,
    /// The log lost events and opened a new epoch.
    Epoch,
}

/// What [`Event::Revalidate`] of these keys is equal to, for tests; of changes without an `X-Revalidate-Id`.
///
/// ```
/// use tower_revalidate::{Event, revalidate};
///
/// assert_eq!(revalidate("posts.list"), revalidate(["posts.list"]));
/// ```
#[must_use]
pub fn revalidate(keys: impl Into<Revalidate>) -> Event {
    let mut keys: Vec<_> = keys.into().entries.into_iter().flat_map(|entry| entry.keys).collect();
    keys.sort_unstable();
    keys.dedup();
    Event::Revalidate(Stale { keys, origin: None })
}

/// What [`Event::Message`] of this message is equal to, for tests.
///
/// # Panics
/// When the channel's name is refused or the payload does not serialise.
#[must_use]
#[track_caller]
#[allow(clippy::panic, clippy::expect_used)]
pub fn message(channel: impl crate::IntoName<Channel>, event: &str, data: &impl Serialize) -> Event {
    let channel = channel.into_name().expect("the name of a channel");
    let data = serde_json::to_vec(data).expect("a payload that serialises").into();
    Event::Message(Message { channel, event: event.to_owned(), data })
}

/// The request that changed something: the header `X-Revalidate-Id`, 32 lower-case hex digits. It lets a
/// browser know its own change when the news of it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(u128);

impl Origin {
    /// Reads the header's value; anything but 32 lower-case hex digits is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let valid = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if text.len() != 32 || !text.iter().all(valid) {
            return None;
        }
        u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().map(Origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Origin::parse(text.as_bytes()).ok_or_else(|| serde::de::Error::custom("not 32 hex digits"))
    }
}

/// Which of a channel's followers a message is for: by user, so that it holds for all of a user's sessions, and
/// for those that come back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Readers {
    #[default]
    All,
    Except(Box<str>),
    Only(Vec<Box<str>>),
}

impl Readers {
    /// Whether a session of this user may read it. One without a user is nobody's in particular.
    pub(crate) fn include(&self, identity: Option<&str>) -> bool {
        match self {
            Readers::All => true,
            Readers::Except(left_out) => identity != Some(&**left_out),
            Readers::Only(named) => {
                identity.is_some_and(|identity| named.iter().any(|name| **name == *identity))
            }
        }
    }
}

/// The names of what the protocol itself says. An app's event under one of them would be taken for it: where a
/// handler's own stream writes names as they are, or beside the presence of a channel.
const RESERVED: [&str; 6] = ["hello", "revalidate", "gap", "bye", "presence", "presence_update"];

/// The name of an event on a channel: 1 to 128 bytes without control characters, so that it can neither end a
/// line of the stream nor forge a field (WHATWG HTML, 9.2.6); and none of the protocol's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventName(pub(crate) Box<str>);

impl EventName {
    pub(crate) fn parse(text: &str) -> Result<Self, crate::PublishError> {
        let is_name = !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
        if !is_name || RESERVED.contains(&text) {
            return Err(crate::PublishError::EventName(text.to_owned()));
        }
        Ok(EventName(text.into()))
    }
}
