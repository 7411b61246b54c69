//! The small world in which every history plays: who there is, what they may follow, what is kept of it.
//!
//! The checker judges by these tables and not by what the crate's own patterns and policies say.

use tower_revalidate::{Builder, Cursor, Grant, Policy, QueryKey, Scope};

/// What the world promises to keep of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    History,
    Latest,
    Ephemeral,
}

pub(crate) const CHANNELS: [(&str, Keep); 7] = [
    ("room:1", Keep::History),
    ("room:2", Keep::History),
    ("news", Keep::History),
    ("board:1", Keep::Latest),
    ("board:2", Keep::Latest),
    ("room:1:typing", Keep::Ephemeral),
    ("vault", Keep::History),
];

/// Asked for now and then; never followed.
pub(crate) const MALFORMED: &str = "room::*";

pub(crate) fn keep(channel: &str) -> Keep {
    CHANNELS.iter().find(|(name, _)| *name == channel).expect("a channel of this world").1
}

fn is_public(channel: &str) -> bool {
    matches!(channel, "news" | "board:2")
}

pub(crate) fn declare(builder: Builder, kept: u32) -> Builder {
    builder
        .channel("room:*", Policy::history(kept))
        .channel("news", Policy::history(kept).public())
        .channel("board:*", Policy::latest())
        .channel("board:2", Policy::latest().public())
        .channel("room:*:typing", Policy::ephemeral())
}

/// From where on a viewer may read a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Retained,
    Since(Cursor),
    Live,
}

/// A user at one moment: `joined` is where Bob became a member, `wide` whether Alice may see room 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) joined: Cursor,
    pub(crate) wide: bool,
}

pub(crate) const USERS: [&str; 4] = ["", "alice", "bob", "carol"];

impl User {
    pub(crate) fn identity(&self) -> Option<&'static str> {
        Some(self.name).filter(|name| !name.is_empty())
    }

    pub(crate) fn grant(&self) -> Grant {
        match self.name {
            "alice" if self.wide => Grant::user("alice")
                .scope("role:staff")
                .follow("room:*")
                .follow("board:*")
                .follow("room:*:typing"),
            "alice" => Grant::user("alice")
                .scope("role:staff")
                .follow("room:1")
                .follow("room:1:**")
                .follow("board:1"),
            "bob" => Grant::user("bob")
                .scope("role:staff")
                .follow_since("room:*", self.joined)
                .follow("room:1:typing")
                .follow_live("room:1"),
            "carol" => Grant::user("carol").follow_live("room:1").follow_since("board:1", self.joined),
            _ => Grant::anonymous(),
        }
    }

    pub(crate) fn scopes(&self) -> &'static [&'static str] {
        match self.name {
            "alice" => &["user:alice", "role:staff"],
            "bob" => &["user:bob", "role:staff"],
            "carol" => &["user:carol"],
            _ => &[],
        }
    }

    /// What the user may follow; none: nothing.
    pub(crate) fn access(&self, channel: &str) -> Option<Access> {
        match (self.name, channel) {
            (_, channel) if is_public(channel) => Some(Access::Retained),
            ("alice", "room:1" | "board:1" | "room:1:typing") => Some(Access::Retained),
            ("alice", "room:2") if self.wide => Some(Access::Retained),
            ("bob", "room:1" | "room:2") => Some(Access::Since(self.joined)),
            ("bob", "room:1:typing") => Some(Access::Retained),
            ("carol", "room:1") => Some(Access::Live),
            ("carol", "board:1") => Some(Access::Since(self.joined)),
            _ => None,
        }
    }
}

/// The audiences that revalidations go to; none: everyone.
pub(crate) const AUDIENCES: [Option<&[&str]>; 6] = [
    None,
    None,
    Some(&["user:alice"]),
    Some(&["role:staff"]),
    Some(&["role:staff", "user:carol"]),
    Some(&[]),
];

pub(crate) fn scope(name: &'static str) -> Scope {
    Scope::new(name).expect("a scope of this world")
}

/// A key of the pool, or one of its own.
pub(crate) fn key(rng: &mut fastrand::Rng, serial: u64) -> QueryKey {
    let key = match rng.u8(0..6) {
        0 => QueryKey::new("posts.list"),
        1 => QueryKey::new(("posts", "detail", rng.u8(0..3))),
        2 => QueryKey::new(("users", rng.u8(0..2))),
        3 => QueryKey::new(("users", rng.u8(0..2), "badges")),
        4 => QueryKey::new("posts"),
        _ => QueryKey::new(("posts", "detail", serial)),
    };
    key.expect("a key of this world")
}
