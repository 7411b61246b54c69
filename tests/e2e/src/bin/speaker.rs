//! A hub that says what it is told to, for the suites of `tests/e2e/node/wpt`. It ends with its standard input,
//! so that it never outlives who started it, and prints its port.
//!
//! | route | |
//! |---|---|
//! | `/realtime/events` | the streams; anybody may follow `wpt` |
//! | `/shared/realtime/events` | the same for every origin, with cookies; `?cookie=name` sets one |
//! | `/elsewhere/…`, `/nowhere/…` | the same for another origin only; for an origin without a name |
//! | `/redirect/{status}?to=…`, also under `/shared` | on to there |
//! | `POST /say` | publishes `{"event","data"}`; answers with the cursor, or 422 and why not |
//! | `POST /stale` | revalidates `posts.list` |
//! | `POST /end` | ends every stream |
//! | `POST /refuse` | new streams are refused from now on |
//! | anything else | an empty page |

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, LOCATION, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_revalidate::{Grant, Hub, Policy, Refusal};

/// Whose streams they all are, so that they can be ended.
const READER: &str = "reader";

/// Bytes of a message, as JSON: one of the corpus has ten megabytes.
const MESSAGE: usize = 32 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let refusing = Arc::new(AtomicBool::new(false));
    let refuses = refusing.clone();
    let hub = Hub::builder()
        // Often, so that comments and bare ids stand between everything else.
        .heartbeat(Duration::from_millis(100))
        .max_payload_bytes(MESSAGE)
        .retain_channel_bytes(2 * MESSAGE)
        .retain_bytes(4 * MESSAGE)
        .channel("wpt", Policy::history(4096).public())
        .authorize(move |_| {
            let refused = refuses.load(Ordering::Relaxed).then(|| Refusal::forbidden("as was told"));
            std::future::ready(refused.map_or(Ok(Grant::user(READER)), Err))
        })
        .build()?;

    let service = || Router::new().nest_service("/realtime", hub.service());
    let redirect = || Router::new().route("/redirect/{status}", any(redirect));
    let every_origin = CorsLayer::new().allow_origin(AllowOrigin::mirror_request()).allow_credentials(true);
    let another = CorsLayer::new().allow_origin(HeaderValue::from_static("http://example.org"));
    let shared = service().merge(redirect()).layer(middleware::from_fn(cookie)).layer(every_origin);
    let nowhere = service().layer(middleware::map_response(async |mut response: Response| {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(""));
        response
    }));
    let app = Router::new()
        .route("/say", post(say).layer(DefaultBodyLimit::max(2 * MESSAGE)))
        .route("/stale", post(async |State(hub): State<Hub>| told(hub.revalidate("posts.list").await)))
        .route("/end", post(async |State(hub): State<Hub>| told(hub.disconnect_user(READER).await)))
        .route("/refuse", post(async move || refusing.store(true, Ordering::Relaxed)))
        .with_state(hub.clone())
        .merge(service())
        .merge(redirect())
        .nest("/shared", shared)
        .nest("/elsewhere", service().layer(another))
        .nest("/nowhere", nowhere)
        .fallback(async || Html("<!doctype html><link rel=icon href=data:,>"));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        _ = async { tokio::io::stdin().read(&mut [0]).await } => {}
    }
    Ok(())
}

async fn say(State(hub): State<Hub>, Json(message): Json<Value>) -> Response {
    let event = message["event"].as_str().unwrap_or_default();
    told(hub.channel("wpt").publish(event, &message["data"]).await)
}

fn told<T: ToString, E: ToString>(result: Result<T, E>) -> Response {
    match result {
        Ok(cursor) => cursor.to_string().into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

async fn redirect(Path(status): Path<u16>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND);
    let to = query.into_iter().find(|(name, _)| name == "to").unwrap_or_default().1;
    (status, [(LOCATION, to)]).into_response()
}

/// Gives the visitor the cookie that the query names.
async fn cookie(Query(query): Query<Vec<(String, String)>>, request: Request, next: Next) -> Response {
    let named = query.iter().find(|(name, _)| name == "cookie").map(|(_, name)| format!("{name}=1; Path=/"));
    let mut response = next.run(request).await;
    if let Some(cookie) = named.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
