//! The app of the freshness oracle: data that many change at once, each of its queries under a key that whoever
//! changes it says. What it answers is a stamp that never comes twice, so that an old answer never looks like a
//! new one.
//!
//! Its knobs are environment variables, so that it can be killed and started anew; it ends with its standard
//! input, so that it never outlives who started it.
//!
//! | variable | |
//! |---|---|
//! | `PORT` | default 0, any free one |
//! | `FILES` | directories, separated by `:`; a file in one of them wins over the app |
//! | `STORE` | the file that the data is kept in; none is another life, with other stamps |
//! | `CROWD` | sessions beside the browser's: with more than 100, `spreadMs` is not 0 |
//!
//! A request may ask for trouble, in headers: `x-before` and `x-after` are waits in ms, before and after the data is
//! read or written, `x-fail` is `before` or `after`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use e2e::Files;
use http::header::{AUTHORIZATION, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower_revalidate::{Grant, Hub, Limit, Refusal, Revalidate, RevalidateExt};

/// How many pages `items` and `feed` have.
const PAGES: u64 = 3;

#[derive(Clone)]
struct App {
    hub: Hub,
    data: Arc<Mutex<Data>>,
    seen: Arc<Mutex<Seen>>,
}

/// What is kept.
struct Data {
    file: Option<PathBuf>,
    /// Differs in each life, and with it every stamp.
    life: String,
    /// Of the newest change.
    change: u64,
    rows: BTreeMap<String, u64>,
    admins: BTreeSet<String>,
}

#[derive(Default)]
struct Seen {
    reads: u64,
    writes: u64,
    /// Of requests for a stream.
    statuses: BTreeMap<u16, u64>,
    /// How the next requests for a stream are answered.
    answers: VecDeque<u16>,
    /// Tokens of an older edition have expired.
    edition: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = Arc::new(Mutex::new(Data::open(std::env::var_os("STORE").map(PathBuf::from))?));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (of_grants, editions) = (data.clone(), seen.clone());
    let hub = Hub::builder()
        .heartbeat(Duration::from_millis(1_000))
        .gap_every(Duration::from_millis(1_000))
        .refetches_per_s(500)
        // So few that keys collapse to their prefixes.
        .retain_keys(8)
        .limit(Limit::by_identity().per_minute(600).burst(10))
        .authorize(move |parts| {
            let grant = grant(&parts, &lock(&editions), &lock(&of_grants));
            std::future::ready(grant)
        })
        .build()?;
    let crowd: usize = std::env::var("CROWD").ok().map_or(Ok(0), |text| text.parse())?;
    let _crowd: Vec<_> = (0..crowd).map(|_| hub.subscribe(Grant::anonymous())).collect::<Result<_, _>>()?;

    let app = App { hub: hub.clone(), data, seen };
    let app = Router::new()
        .route("/counter/{name}", get(counter).post(count))
        .route("/items/{page}", get(items).post(change_item))
        .route("/items", post(change_items))
        .route("/feed/{page}", get(feed).post(change_feed))
        .route("/me", get(me).post(change_me))
        .route("/users/{user}", post(change_user))
        .route("/reports", get(reports).post(change_reports))
        .route("/promote/{user}", post(promote))
        .nest_service("/realtime", hub.service())
        .layer(middleware::from_fn_with_state(app.clone(), streams))
        .layer(middleware::from_fn_with_state(app.clone(), trouble))
        .layer(hub.layer())
        // Not of the app's data.
        .route("/sign-in/{user}", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/token/{user}", post(token))
        .route("/expire", post(expire))
        .route("/answers", post(answers))
        .route("/figures", get(figures))
        .layer(middleware::from_fn_with_state(Files::from_env(), Files::first))
        .with_state(app);

    let port: u16 = std::env::var("PORT").ok().map_or(Ok(0), |text| text.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?.port());
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        _ = async { tokio::io::stdin().read(&mut [0]).await } => {}
    }
    Ok(())
}

type Answer = Result<Response, StatusCode>;

// --- Who ---------------------------------------------------------------------------------------------------

/// The bearer `{user}.{edition}`, or the cookie `user`.
fn identity(headers: &HeaderMap, seen: &Seen) -> Result<Option<String>, StatusCode> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")) {
        let (user, edition) = token.split_once('.').ok_or(StatusCode::UNAUTHORIZED)?;
        return match edition.parse() {
            Ok(edition) if seen.edition <= edition => Ok(Some(user.to_owned())),
            _ => Err(StatusCode::UNAUTHORIZED),
        };
    }
    let mut cookies = text(COOKIE).into_iter().flat_map(|cookies| cookies.split("; "));
    Ok(cookies
        .find_map(|cookie| cookie.strip_prefix("user="))
        .filter(|user| !user.is_empty())
        .map(str::to_owned))
}

#[allow(clippy::result_large_err)]
fn grant(parts: &Parts, seen: &Seen, data: &Data) -> Result<Grant, Refusal> {
    let user = identity(&parts.headers, seen).map_err(|_| Refusal::unauthorized("the token has expired"))?;
    let Some(user) = user else { return Ok(Grant::anonymous()) };
    let grant = Grant::user(&user).expires_in(Duration::from_secs(12));
    Ok(if data.admins.contains(&user) { grant.scope(("role", "admin")) } else { grant })
}

impl App {
    fn data(&self) -> MutexGuard<'_, Data> {
        lock(&self.data)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    fn user(&self, headers: &HeaderMap) -> Result<Option<String>, StatusCode> {
        identity(headers, &self.seen())
    }

    /// Sets the cookie, and ends the streams of who had it.
    async fn become_user(&self, headers: &HeaderMap, user: &str) -> Answer {
        if let Some(before) = self.user(headers)? {
            self.hub.disconnect_user(before).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        }
        Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, format!("user={user}; Path=/"))]).into_response())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn sign_in(State(app): State<App>, headers: HeaderMap, Path(user): Path<String>) -> Answer {
    app.become_user(&headers, &user).await
}

async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Answer {
    app.become_user(&headers, "").await
}

async fn token(State(app): State<App>, Path(user): Path<String>) -> Json<Value> {
    Json(json!(format!("{user}.{}", app.seen().edition)))
}

async fn expire(State(app): State<App>) -> StatusCode {
    app.seen().edition += 1;
    StatusCode::NO_CONTENT
}

/// Makes an administrator of a user, or of an administrator a user.
async fn promote(State(app): State<App>, Path(user): Path<String>) -> StatusCode {
    let stored = {
        let mut data = app.data();
        if !data.admins.remove(&user) {
            data.admins.insert(user.clone());
        }
        data.store()
    };
    match (stored, app.hub.regrant(user).await) {
        (Ok(()), Ok(_)) => StatusCode::NO_CONTENT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

// --- What ---------------------------------------------------------------------------------------------------

impl Data {
    fn open(file: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut data = Data {
            life: format!("{:x}", since.as_nanos()),
            change: 0,
            rows: BTreeMap::new(),
            admins: BTreeSet::new(),
            file,
        };
        let Some(text) = data.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()) else {
            return Ok(data);
        };
        let kept: Value = serde_json::from_str(&text)?;
        data.life = kept["life"].as_str().unwrap_or_default().to_owned();
        data.change = kept["change"].as_u64().unwrap_or_default();
        for (row, change) in kept["rows"].as_object().into_iter().flatten() {
            data.rows.insert(row.clone(), change.as_u64().unwrap_or_default());
        }
        for user in kept["admins"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            data.admins.insert(user.to_owned());
        }
        Ok(data)
    }

    /// Whole or not at all: it may be killed at any moment.
    fn store(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept =
            json!({ "life": self.life, "change": self.change, "rows": self.rows, "admins": self.admins });
        let beside = file.with_extension("new");
        std::fs::write(&beside, kept.to_string())?;
        std::fs::rename(beside, file)
    }

    fn stamp(&self, row: &str) -> Value {
        json!({ "life": self.life, "n": self.rows.get(row).copied().unwrap_or_default() })
    }

    fn change(&mut self, rows: impl IntoIterator<Item = String>) -> std::io::Result<Value> {
        self.change += 1;
        for row in rows {
            self.rows.insert(row, self.change);
        }
        self.store()?;
        Ok(json!({ "life": self.life, "n": self.change }))
    }
}

impl App {
    async fn read(&self, headers: &HeaderMap, look: impl FnOnce(&Data) -> Value) -> Answer {
        self.seen().reads += 1;
        wait(headers, "x-before").await;
        let user = self.user(headers)?;
        let value = look(&self.data());
        wait(headers, "x-after").await;
        Ok(([("x-user", user.unwrap_or_default())], Json(value)).into_response())
    }

    /// Says it also where the client is gone after the commit, or the handler fails then.
    async fn write(
        &self,
        headers: &HeaderMap,
        rows: impl IntoIterator<Item = String>,
        stale: Revalidate,
    ) -> Answer {
        self.seen().writes += 1;
        wait(headers, "x-before").await;
        fail(headers, "before")?;
        let stale = self.hub.pledge(stale);
        let user = self.user(headers)?;
        let value = self.data().change(rows).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        wait(headers, "x-after").await;
        fail(headers, "after")?;
        Ok(([("x-user", user.unwrap_or_default())], Json(value)).into_response().revalidate(stale))
    }
}

async fn counter(State(app): State<App>, headers: HeaderMap, Path(name): Path<String>) -> Answer {
    app.read(&headers, |data| data.stamp(&format!("counter/{name}"))).await
}

async fn count(State(app): State<App>, headers: HeaderMap, Path(name): Path<String>) -> Answer {
    app.write(&headers, [format!("counter/{name}")], Revalidate::key(("counter", name))).await
}

async fn items(State(app): State<App>, headers: HeaderMap, Path(page): Path<u64>) -> Answer {
    app.read(&headers, |data| data.stamp(&format!("items/{page}"))).await
}

/// One page, as the query's parameters name it.
async fn change_item(State(app): State<App>, headers: HeaderMap, Path(page): Path<u64>) -> Answer {
    let key = ("items", json!({ "page": page, "size": 2 }));
    app.write(&headers, [format!("items/{page}")], Revalidate::key(key)).await
}

async fn change_items(State(app): State<App>, headers: HeaderMap) -> Answer {
    app.write(&headers, (0..PAGES).map(|page| format!("items/{page}")), Revalidate::key("items")).await
}

async fn feed(State(app): State<App>, headers: HeaderMap, Path(page): Path<u64>) -> Answer {
    app.read(&headers, |data| data.stamp(&format!("feed/{page}"))).await
}

async fn change_feed(State(app): State<App>, headers: HeaderMap, Path(page): Path<u64>) -> Answer {
    app.write(&headers, [format!("feed/{page}")], Revalidate::key("feed")).await
}

async fn me(State(app): State<App>, headers: HeaderMap) -> Answer {
    let user = app.user(&headers)?;
    app.read(&headers, |data| {
        let stamp = user.as_ref().map(|user| data.stamp(&format!("users/{user}")));
        json!({ "user": user, "stamp": stamp })
    })
    .await
}

async fn change_me(State(app): State<App>, headers: HeaderMap) -> Answer {
    let user = app.user(&headers)?.ok_or(StatusCode::FORBIDDEN)?;
    change_user(State(app), headers, Path(user)).await
}

/// Others change what is his, too.
async fn change_user(State(app): State<App>, headers: HeaderMap, Path(user): Path<String>) -> Answer {
    let stale = Revalidate::key(("users", "me")).to(("user", &user));
    app.write(&headers, [format!("users/{user}")], stale).await
}

async fn reports(State(app): State<App>, headers: HeaderMap) -> Answer {
    let user = app.user(&headers)?.unwrap_or_default();
    app.read(&headers, |data| {
        if data.admins.contains(&user) { data.stamp("reports") } else { json!("for administrators") }
    })
    .await
}

async fn change_reports(State(app): State<App>, headers: HeaderMap) -> Answer {
    app.write(&headers, ["reports".to_owned()], Revalidate::key("reports").to(("role", "admin"))).await
}

// --- Trouble -------------------------------------------------------------------------------------------------

async fn wait(headers: &HeaderMap, name: &str) {
    let ms = headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(ms) = ms {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn fail(headers: &HeaderMap, when: &str) -> Result<(), StatusCode> {
    let fails = headers.get("x-fail").is_some_and(|value| value == when);
    if fails { Err(StatusCode::INTERNAL_SERVER_ERROR) } else { Ok(()) }
}

/// Reads fail here, whatever they are.
async fn trouble(State(_): State<App>, request: Request, next: Next) -> Response {
    let fails = request.method() == Method::GET && request.headers().contains_key("x-fail");
    let response = next.run(request).await;
    if fails { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { response }
}

/// Counts how requests for a stream are answered, and answers them itself where it was told to.
async fn streams(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path() != "/realtime/events" || request.method() != Method::GET {
        return next.run(request).await;
    }
    let told = app.seen().answers.pop_front().and_then(|status| StatusCode::from_u16(status).ok());
    let response = match told {
        Some(status) => (status, [(RETRY_AFTER, "1")], "not now").into_response(),
        None => next.run(request).await,
    };
    *app.seen().statuses.entry(response.status().as_u16()).or_default() += 1;
    response
}

async fn answers(State(app): State<App>, Json(answers): Json<VecDeque<u16>>) -> StatusCode {
    app.seen().answers = answers;
    StatusCode::NO_CONTENT
}

async fn figures(State(app): State<App>) -> Json<Value> {
    let seen = app.seen();
    Json(json!({ "reads": seen.reads, "writes": seen.writes, "statuses": seen.statuses }))
}
