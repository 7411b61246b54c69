//! A soak test: one server in a process of its own, and thousands of clients that come, stall, lie about where
//! they were, and go, while events flow and grants change. Every stream is judged as it is read.
//!
//! ```text
//! cargo run --release -p soak -- --seconds 900 --clients 2000 --events 200 --seed 1
//! ```
//!
//! It prints figures each 30 s, and exits with an error if a promise was broken, if something was left behind
//! when everyone had gone, or if the server's memory kept growing.

#![allow(clippy::panic, reason = "an objection is a panic of the client that objects")]

mod client;
mod common;
mod driver;
mod judge;
mod server;
mod world;

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why there was no run.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What the run is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) clients: u64,
    pub(crate) events: u64,
    pub(crate) seed: u64,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Options { seconds: 900, clients: 2000, events: 200, seed: fastrand::u64(..) };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} wants a number"))?.parse()?;
            match name.as_str() {
                "--seconds" => options.seconds = value,
                "--clients" => options.clients = value,
                "--events" => options.events = value,
                "--seed" => options.seed = value,
                _ => return Err(format!("{name} is none of --seconds, --clients, --events, --seed").into()),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    if std::env::args().nth(1).as_deref() == Some("server") {
        rlimit::increase_nofile_limit(u64::MAX)?;
        server::run().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::read(std::env::args().skip(1))?;
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    if files < options.clients + 100 {
        return Err(format!(
            "{files} open files are too few for {} clients: see `ulimit -n`",
            options.clients
        )
        .into());
    }
    speak_of_few();
    Ok(if driver::run(options).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A promise that is broken for one client is broken for thousands. All are counted.
fn speak_of_few() {
    static SPOKEN: AtomicU64 = AtomicU64::new(0);
    let speak = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if SPOKEN.fetch_add(1, Ordering::Relaxed) < 20 {
            speak(panic);
        }
    }));
}
