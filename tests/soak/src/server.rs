//! The process under test: a hub on axum, and a door for the one who publishes and looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tower_revalidate::{Channel, Grant, Hub, Policy, Revalidate, Scope};

use crate::world::{TEAMS, rooms};

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
pub(crate) const STALL_AFTER: Duration = Duration::from_secs(20);
pub(crate) const LIFETIME: Duration = Duration::from_secs(120);

/// What the driver has the server do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Message {
        channel: String,
        number: u64,
        pad: usize,
    },
    Key {
        audience: String,
        number: u64,
    },
    /// The grant of this user changes for so manyth a time.
    Regrant {
        user: u32,
        version: usize,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) cursor: String,
    pub(crate) sessions: usize,
    pub(crate) subscriptions: usize,
    pub(crate) topics: usize,
    pub(crate) retained_bytes: usize,
}

#[derive(Clone)]
struct App {
    hub: Hub,
    versions: Arc<Mutex<HashMap<u32, usize>>>,
}

/// Says its port, and serves until it is killed or its parent is gone.
pub(crate) async fn run() -> Result<(), crate::Failure> {
    let hub = Hub::builder()
        .channel("room:*", Policy::history(64))
        .channel("news", Policy::history(256).public())
        .channel("board", Policy::latest().public())
        // Short, so that all of it happens often, and what is held is steady soon.
        .retain_for(Duration::from_secs(60))
        .retain_keys(16)
        .grant_lifetime(LIFETIME)
        .heartbeat(HEARTBEAT)
        .stall_after(STALL_AFTER)
        .build()?;
    let app = App { hub: hub.clone(), versions: Arc::default() };
    let router = Router::new()
        .nest_service("/realtime", hub.service())
        .route("/order", post(order))
        .route("/figures", get(figures))
        .layer(from_fn_with_state(app.clone(), authenticate))
        .layer(hub.layer())
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        () = parent_gone() => Ok(()),
    }
}

/// Standard input ends with the one who holds its other end.
async fn parent_gone() {
    let mut stdin = tokio::io::stdin();
    let _ = tokio::io::AsyncReadExt::read(&mut stdin, &mut [0]).await;
}

async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok()?.parse().ok());
    if let Some(user) = user {
        let version = app.versions.lock().get(&user).copied().unwrap_or_default();
        let grant = Grant::user(user).scope(("team", user % TEAMS));
        let rooms = rooms(user, version);
        let grant =
            rooms.iter().fold(grant, |grant, room| grant.follow(Channel::parse(room).map(Into::into)));
        request.extensions_mut().insert(grant);
    }
    next.run(request).await
}

async fn order(State(app): State<App>, Json(order): Json<Order>) -> Result<String, String> {
    let receipt = match order {
        Order::Message { channel, number, pad } => {
            let data = serde_json::json!({"number": number, "pad": "x".repeat(pad)});
            app.hub.channel(Channel::parse(&channel)).publish("said", &data)
        }
        Order::Key { audience, number } => {
            let stale = Revalidate::key((&audience, "item", number));
            let all = audience == "everyone";
            app.hub.revalidate(if all { stale } else { stale.to(Scope::parse(&audience)) })
        }
        Order::Regrant { user, version } => {
            app.versions.lock().insert(user, version);
            app.hub.regrant(user)
        }
    };
    receipt.await.map(|at| at.to_string()).map_err(|error| error.to_string())
}

async fn figures(State(app): State<App>) -> Json<Figures> {
    let stats = app.hub.stats();
    Json(Figures {
        cursor: app.hub.cursor().to_string(),
        sessions: stats.sessions,
        subscriptions: stats.subscriptions,
        topics: stats.topics,
        retained_bytes: stats.retained_bytes,
    })
}
