//! The demo app that every framework's example serves: a list of posts, a profile, a chat room, announcements.
//!
//! Here is what does not depend on the framework: the [`App`] and what it stores, the sign-in ([`Visitor`]), the
//! [`PAGE`], and how a server starts and ends ([`listen`], [`shutdown`]). What is left to an example's `main.rs`
//! is what its users look for: routes, where the hub's layer and service go, where the
//! [`Grant`](tower_revalidate::Grant) is put, and how a handler's response carries a
//! [`Revalidate`](tower_revalidate::Revalidate).

mod app;
#[cfg(feature = "sqlite")]
mod db;
mod failure;
#[cfg(feature = "sqlite")]
mod refused;
mod serve;
#[cfg(feature = "hyper")]
mod serve_hyper;
mod visitor;

pub use app::{App, Message, NewMessage, NewPost, Notice, Post, Posts, Profile, hub};
#[cfg(feature = "sqlite")]
pub use db::Db;
pub use failure::{Failure, MAX_BODY, parse};
#[cfg(feature = "sqlite")]
pub use refused::{Input, Refused};
pub use serve::{GRACE, accept, listen, shutdown, tune, tune_listener};
#[cfg(feature = "hyper")]
pub use serve_hyper::serve;
pub use visitor::Visitor;

/// The page: plain HTML and the browser's own `EventSource`, no library.
pub const PAGE: &str = include_str!("index.html");
