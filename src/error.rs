//! The errors of the hub's public face.

use crate::log::AppendError;
use crate::{Channel, Fault, NameError};

/// Why something was not published.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The channel's name was refused.
    #[error("the channel was refused: {0}")]
    Channel(#[from] NameError),
    /// The event's name is empty, over 128 bytes, holds a control character, or is one that the protocol itself
    /// uses: `hello`, `revalidate`, `gap`, `bye`, `presence`, `presence_update`.
    #[error("{0:?} is not the name of an event")]
    EventName(String),
    /// The payload does not serialise.
    #[error("the payload cannot be serialised: {0}")]
    Serialize(String),
    /// The payload is over the bound.
    #[error("a payload of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
        /// The bound, an option of the builder.
        limit: usize,
    },
    /// One `Revalidate` names more keys times scopes than an event may carry.
    #[error("{keys} keys for {scopes} scopes are over the limit of {limit} together")]
    TooMany {
        /// Keys.
        keys: usize,
        /// Scopes; 1 for everyone.
        scopes: usize,
        /// The bound on their product.
        limit: usize,
    },
    /// A constructor of the `Revalidate` refused a part.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// The filter of the builder refused the message.
    #[error("the filter refused a message on {0}")]
    Filtered(Channel),
    /// No pattern declares the channel, and the builder wants that.
    #[error("{0} is not declared, so nobody may follow it")]
    Undeclared(Channel),
    /// One declaration says that the channel is never for everyone, and another one makes it public.
    #[error("{0} is declared scoped, and would be public")]
    Unscoped(Channel),
    /// A record change was refused.
    #[error(transparent)]
    Change(#[from] crate::ChangeError),
    /// The log did not take it.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// Too many revalidations wait for the log.
    #[error("too many revalidations wait for the log")]
    Full,
}

/// Why a session did not open in process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The hub was shut down.
    #[error("the hub is shut down")]
    Shutdown,
    /// The hub holds as many sessions or subscriptions as it may.
    #[error("the hub holds as many sessions or subscriptions as it may")]
    Busy,
    /// The grant changed while it was being made.
    #[error("the grant changed since it was made")]
    Grant,
    /// The channel's name was refused.
    #[error("the channel was refused: {0}")]
    Channel(#[from] NameError),
    /// The grant does not allow to follow the channel.
    #[error("the grant does not allow to follow {0}")]
    Denied(Channel),
}

/// An option of the [`Builder`](crate::Builder) is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}`: {reason}")]
#[non_exhaustive]
pub struct BuildError {
    /// The builder's method.
    pub option: &'static str,
    /// What is wrong.
    pub reason: String,
}
