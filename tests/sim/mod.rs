//! The simulator: the whole path, from a handler's response to the bytes at a client, on a virtual clock.
//!
//! A history is drawn from one seed and replays exactly. Its hubs are the real ones with tiny bounds, so that
//! eviction, overflow and write bounds happen all the time; its clients read real bodies, only when their
//! waker fired; its log misbehaves.
//!
//! - [`history`]: what may happen, and the driver that makes it happen, in four parts: the server's side, the
//!   viewers', trouble, and under which bounds.
//! - [`log`]: a broker that trims, loses its tail, loses answers and stalls a node; the real memory log.
//! - [`client`]: a client that is cut at any byte, comes back, and switches channels.
//! - [`ledger`]: the truth, what was said and what was appended.
//! - [`checker`]: reads what each session was given, knows what was due to it, and objects.
//! - [`world`]: who there is and what they may see; [`sse`]: the parser of both sides.

pub(crate) mod checker;
pub(crate) mod client;
pub(crate) mod history;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod sse;
pub(crate) mod world;
