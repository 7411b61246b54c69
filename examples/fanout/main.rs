//! Fan-out and nothing else, to be measured: every channel is public, and who posts publishes.
//!
//! `PORT=3000 WORKERS=1 cargo run --profile measured -p example-fanout --example fanout`, with one of
//! - no argument: bare hyper as it comes;
//! - `flat`: the same with `writev(false)`, which suits small writes;
//! - `axum`: the same on axum.
//!
//! `GET /realtime/events?channels=NAME` streams, `POST /publish/NAME` publishes its body, which is JSON, as the
//! event `message`, byte for byte, and answers 204 once the receipt resolved. `GET /` answers 204 at once: how long
//! it takes under load is what the rest of an app would wait. `WORKERS` is the number of threads, by default
//! one a core; one is a runtime without other threads.

mod on_axum;
mod on_hyper;

use std::error::Error;
use std::thread::available_parallelism;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};
use tower_revalidate::{Channel, Hub, Pattern, Policy};

fn main() -> Result<(), Box<dyn Error>> {
    // A connection is an open file; what the system allows at most is enough or not, and accepting says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let hub = Hub::builder().channel(Pattern::any(), Policy::history(256).public()).build()?;
    let serve = async {
        match std::env::args().nth(1).as_deref() {
            None => on_hyper::serve(hub, true).await,
            Some("flat") => on_hyper::serve(hub, false).await,
            Some("axum") => on_axum::serve(hub).await,
            Some(other) => Err(format!("there is no {other:?}: give nothing, flat or axum").into()),
        }
    };
    runtime()?.block_on(serve)
}

fn runtime() -> Result<Runtime, Box<dyn Error>> {
    let workers = match std::env::var("WORKERS") {
        Ok(workers) => workers.parse().map_err(|_| format!("WORKERS is no number: {workers:?}"))?,
        Err(_) => available_parallelism()?.get(),
    };
    let mut builder = match workers {
        0 => return Err("WORKERS is 0, and somebody has to work".into()),
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    Ok(builder.worker_threads(workers).enable_all().build()?)
}

/// Publishes a body as it is, and waits until it is accepted.
async fn publish(hub: &Hub, channel: &str, body: &Bytes) -> StatusCode {
    let (Ok(channel), Ok(data)) = (Channel::parse(channel), serde_json::from_slice::<&RawValue>(body)) else {
        return StatusCode::BAD_REQUEST;
    };
    match hub.channel(&channel).publish("message", data).await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(refused) => {
            eprintln!("{channel}: {refused}");
            StatusCode::BAD_REQUEST
        }
    }
}
