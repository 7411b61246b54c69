//! What becomes of sessions in which order: tower-sessions saves them after the handler, as a transaction is
//! committed.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use e2e::stack::{Stack, hears, routes};
use e2e::{Client, soon};
use http::header::{COOKIE, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tower_revalidate::{Grant, Hub, Revalidate};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::Result;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, SessionStore};

use super::hub;

/// A place where a request stops until the test lets it go on.
#[derive(Debug, Clone)]
struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Gate { reached: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.expect("it is not closed").forget();
    }

    async fn reached(&self) {
        soon("a request at the gate", self.reached.acquire()).await.expect("it is not closed").forget();
    }
}

/// A store that saves when the test says so. Creating is at once, so that signing in is.
#[derive(Debug, Clone)]
struct Slow(MemoryStore, Gate);

#[async_trait]
impl SessionStore for Slow {
    async fn create(&self, record: &mut Record) -> Result<()> {
        self.0.create(record).await
    }

    async fn save(&self, record: &Record) -> Result<()> {
        self.1.pass().await;
        self.0.save(record).await
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        self.0.load(id).await
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.0.delete(id).await
    }
}

/// A cart that lives in the session.
fn shop(hub: &Hub) -> Router {
    let add = async |session: Session, item: String| {
        session.insert("cart", item).await.expect("the store is memory");
        (StatusCode::CREATED, Revalidate::key("cart"))
    };
    let look =
        async |session: Session| Json(session.get::<String>("cart").await.expect("the store is memory"));
    Router::new().route("/cart", post(add).get(look)).merge(routes(hub))
}

/// A client that has a session with something in the cart.
async fn shopping(client: Client) -> Client {
    let answer = client.send(Method::POST, "/cart", "pears").await;
    let cookie = answer.headers()[SET_COOKIE].to_str().expect("it is text");
    client.with(COOKIE, cookie.split(';').next().expect("it has a name and a value"))
}

/// Right order: the session manager inside of the hub's layer. Who refetches on the news sees what was saved.
#[tokio::test]
async fn inside_of_the_layer_news_comes_after_the_session_is_saved() {
    let (hub, gate) = (hub(), Gate::new());
    let sessions = SessionManagerLayer::new(Slow(MemoryStore::default(), gate.clone()));
    let stack = Stack::start(&hub, shop(&hub).layer(sessions).layer(hub.layer())).await;
    let client = shopping(stack.client()).await;
    let (mut stream, _) = client.follow("news").await;

    let sent = client.clone();
    let added = tokio::spawn(async move { sent.send(Method::POST, "/cart", "plums").await.status() });
    gate.reached().await;
    hub.revalidate("before.it.is.saved");
    hears(&mut stream, "before.it.is.saved").await;
    gate.open.add_permits(1);
    hears(&mut stream, "cart").await;
    assert_eq!(client.json(Method::GET, "/cart", "").await.1, json!("plums"));
    assert_eq!(added.await.expect("it does not panic"), StatusCode::CREATED);
}

/// Wrong: outside of it. The news comes before the session is saved, and who refetches on it sees the old one.
#[tokio::test]
async fn outside_of_the_layer_news_comes_before_the_session_is_saved() {
    let (hub, gate) = (hub(), Gate::new());
    let sessions = SessionManagerLayer::new(Slow(MemoryStore::default(), gate.clone()));
    let stack = Stack::start(&hub, shop(&hub).layer(hub.layer()).layer(sessions)).await;
    let client = shopping(stack.client()).await;
    let (mut stream, _) = client.follow("news").await;

    let sent = client.clone();
    let added = tokio::spawn(async move { sent.send(Method::POST, "/cart", "plums").await.status() });
    gate.reached().await;
    hears(&mut stream, "cart").await;
    assert_eq!(client.json(Method::GET, "/cart", "").await.1, json!("pears"), "what the client refetched");
    gate.open.add_permits(1);
    assert_eq!(added.await.expect("it does not panic"), StatusCode::CREATED);
    assert_eq!(client.json(Method::GET, "/cart", "").await.1, json!("plums"));
    hub.revalidate("and.nothing.else");
    hears(&mut stream, "and.nothing.else").await;
}

/// Wrong: a sign-out that ends the streams first and the session after. A stream that comes back in between is
/// the user's again, and stays so.
#[tokio::test]
async fn a_sign_out_that_disconnects_first_leaves_who_came_back_signed_in() {
    #[derive(Clone)]
    struct App(Hub, Gate);
    async fn sign_out(State(App(hub, gate)): State<App>, session: Session) -> impl IntoResponse {
        hub.disconnect_user("alice");
        gate.pass().await;
        session.flush().await.expect("the store is memory");
        StatusCode::NO_CONTENT
    }
    async fn grant(session: Session, mut request: Request, next: Next) -> Response {
        if session.get::<String>("cart").await.expect("the store is memory").is_some() {
            request.extensions_mut().insert(Grant::user("alice"));
        }
        next.run(request).await
    }
    let (hub, gate) = (hub(), Gate::new());
    let app = Router::new().route("/sign-out", post(sign_out)).with_state(App(hub.clone(), gate.clone()));
    let app = app.merge(shop(&hub)).layer(from_fn(grant));
    let sessions = SessionManagerLayer::new(MemoryStore::default());
    let stack = Stack::start(&hub, app.layer(sessions).layer(hub.layer())).await;
    let alice = shopping(stack.client()).await;
    let (mut stream, _) = alice.follow("news").await;

    let sent = alice.clone();
    let signed_out = tokio::spawn(async move { sent.send(Method::POST, "/sign-out", "").await.status() });
    gate.reached().await;
    assert_eq!(stream.end().await.0[0].data, json!({"reason": "grant"}));
    let (mut stream, _) = alice.resume("news", &stream).await;
    assert_eq!(stream.next().await.expect("the stream goes on").name, "gap");
    gate.open.add_permits(1);
    assert_eq!(signed_out.await.expect("it does not panic"), StatusCode::NO_CONTENT);
    hub.revalidate(Revalidate::key("users.me").to(("user", "alice")));
    hears(&mut stream, "users.me").await;
}
