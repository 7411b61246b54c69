//! What a hub counts, for Prometheus to scrape. `cargo run -p example-metrics --example metrics`, then
//!
//! ```sh
//! curl -N 'localhost:3000/realtime/events?channels=announcements' &
//! curl -X POST localhost:3000/posts
//! curl -X POST localhost:3000/announce -d 'We are open'
//! curl localhost:3000/metrics
//! ```
//!
//! `docs/grafana.json` is a dashboard of it.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tower_revalidate::metrics::{WRITE_LATENCY_BUCKETS, WRITE_LATENCY_SECONDS};
use tower_revalidate::{Hub, Policy, Revalidate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prometheus = recorder()?; // first: a hub keeps to the recorder that it finds
    let hub = Hub::builder().channel("announcements", Policy::history(64).public()).build()?;
    let router = Router::new()
        .route("/posts", post(add_post))
        .route("/announce", post(announce))
        // A real app serves this to its own network only, on a port of its own.
        .route("/metrics", get(async move || ([(CONTENT_TYPE, EXPOSITION)], prometheus.render())))
        .nest_service("/realtime", hub.service())
        .layer(hub.layer()) // last: it sees every route
        .with_state(hub.clone());

    let listener = examples_common::listen().await?.tap_io(|socket| examples_common::tune(socket));
    let (stop, overdue) = examples_common::shutdown(hub);
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(stop) => served?,
        () = overdue => {}
    }
    Ok(())
}

/// Prometheus's text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The recorder, with latencies as a histogram, which adds up over nodes as a summary does not.
fn recorder() -> Result<PrometheusHandle, BuildError> {
    let latency = Matcher::Full(WRITE_LATENCY_SECONDS.to_owned());
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(latency, &WRITE_LATENCY_BUCKETS)?
        .install_recorder()?;
    let upkeep = prometheus.clone();
    tokio::spawn(async move {
        // Whoever renders by itself has to: latencies wait in memory to be counted, also when nobody scrapes.
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(prometheus)
}

/// What it adds is no matter here; that the list is stale is.
async fn add_post() -> impl IntoResponse {
    (StatusCode::CREATED, Revalidate::key("posts.list"))
}

async fn announce(State(hub): State<Hub>, text: String) -> StatusCode {
    match hub.channel("announcements").publish("announcement", &text).await {
        Ok(_) => StatusCode::CREATED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
