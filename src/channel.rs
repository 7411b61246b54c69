//! [`Channel`]: what a connection *follows*; [`Policy`]: what is kept of it and who may follow.

use crate::name::{self, Kind, Text, name_type};

/// What a connection *follows*: `room:42`, `announcements`.
///
/// The client asks for channels in the URL of its stream; the [`Grant`](crate::Grant) decides. Publish to one
/// with [`Hub::channel`](crate::Hub::channel).
///
/// ```
/// use tower_revalidate::Channel;
///
/// let room = Channel::new(("room", 42))?;
/// assert_eq!(room.as_str(), "room:42");
/// # Ok::<(), tower_revalidate::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub(crate) Text);

name_type!(Channel, Kind::Plain);

impl Channel {
    /// Builds a channel's name from a literal or from parts.
    ///
    /// # Errors
    /// [`NameError`](crate::NameError), see [`IntoName`](crate::IntoName).
    pub fn new(name: impl crate::IntoName<Channel>) -> Result<Self, crate::NameError> {
        name.into_name()
    }

    /// A channel's name from a literal, checked at compile time where it stands in a `const`.
    ///
    /// # Panics
    /// When the literal is not a name.
    #[must_use]
    #[allow(clippy::panic)]
    pub const fn from_static(literal: &'static str) -> Self {
        assert!(name::is_literal(literal), "this literal is not the name of a channel");
        Channel(Text::Static(literal))
    }
}

/// What is kept of a channel, and whether strangers may follow it. Declared by pattern on the
/// [`Builder`](crate::Builder::channel), the most specific pattern wins; undeclared channels are
/// `Policy::history(256)`, not public.
///
/// ```
/// use tower_revalidate::{Hub, Policy};
///
/// let hub = Hub::builder()
///     .channel("announcements", Policy::history(64).public())
///     .channel("dashboard:*", Policy::latest())
///     .channel("room:*:typing", Policy::ephemeral())
///     .build()?;
/// # Ok::<(), tower_revalidate::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub(crate) keep: Keep,
    pub(crate) public: bool,
    pub(crate) scoped: bool,
}

/// What is kept of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    History(u32),
    Latest,
    Ephemeral,
}

impl Policy {
    /// Keeps the last `events` events (1 to 65 536, clamped) for those who return. A new session gets none of
    /// them; one that missed more is told so by a `gap`.
    #[must_use]
    pub const fn history(events: u32) -> Self {
        let events = if events == 0 {
            1
        } else if events > 65_536 {
            65_536
        } else {
            events
        };
        Policy { keep: Keep::History(events), public: false, scoped: false }
    }

    /// Keeps the newest event: dashboards, prices. A session gets it at once when it opens, for as long as it is
    /// retained (1 h by default); values that were superseded before a session could read them are not sent.
    #[must_use]
    pub const fn latest() -> Self {
        Policy { keep: Keep::Latest, public: false, scoped: false }
    }

    /// Keeps nothing for those who return: typing, cursors. Outside the promise of no silent loss: a session
    /// that is behind by more than 32 events hears the newest 32.
    #[must_use]
    pub const fn ephemeral() -> Self {
        Policy { keep: Keep::Ephemeral, public: false, scoped: false }
    }

    /// Never for everyone, whatever another declaration says that matches the same channel: should one make it
    /// [`public`](Self::public), publishing is refused with
    /// [`PublishError::Unscoped`](crate::PublishError::Unscoped), and strangers may not follow it. Of one pattern
    /// that is both, the builder refuses to build.
    ///
    /// ```
    /// use tower_revalidate::{Hub, Policy};
    ///
    /// let hub = Hub::builder().channel("user:**", Policy::history(64).scoped()).build()?;
    /// # Ok::<(), tower_revalidate::BuildError>(())
    /// ```
    #[must_use]
    pub const fn scoped(mut self) -> Self {
        self.scoped = true;
        self
    }

    /// Everyone may follow, also without a [`Grant`](crate::Grant).
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.public = true;
        self
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::history(256)
    }
}
