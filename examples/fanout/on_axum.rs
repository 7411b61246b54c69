//! The same on axum.

use std::error::Error;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tower_revalidate::Hub;

pub(crate) async fn serve(hub: Hub) -> Result<(), Box<dyn Error>> {
    let listener = examples_common::listen().await?;
    examples_common::tune_listener(&listener);
    let (stop, overdue) = examples_common::shutdown(hub.clone());
    let app = Router::new()
        .route("/", get(|| async { StatusCode::NO_CONTENT }))
        .route("/publish/{channel}", post(publish))
        // Not `nest_service`, which is three routes: a connection holds a copy of the router.
        .route_service("/realtime/events", hub.service())
        .with_state(hub);
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => served?,
        () = overdue => {}
    }
    Ok(())
}

async fn publish(State(hub): State<Hub>, Path(channel): Path<String>, body: Bytes) -> StatusCode {
    crate::publish(&hub, &channel, &body).await
}
