//! Who asks: tower-sessions, and axum-login on top of it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend};
use e2e::stack::{Stack, hears, lets_through, routes};
use e2e::{Client, Event, Stream};
use http::header::{COOKIE, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::json;
use tower_revalidate::{Grant, Hub, Revalidate};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

use super::hub;

/// tower-sessions alone: the app keeps the user's name in the session.
mod plain {
    use super::*;

    async fn sign_in(session: Session, Path(user): Path<String>) -> StatusCode {
        session.cycle_id().await.expect("the store is memory");
        session.insert("user", user).await.expect("the store is memory");
        StatusCode::NO_CONTENT
    }

    /// The session goes first: streams that come back at once must not find it.
    async fn sign_out(State(hub): State<Hub>, session: Session) -> StatusCode {
        let user: Option<String> = session.get("user").await.expect("the store is memory");
        session.flush().await.expect("the store is memory");
        hub.disconnect_user(user.expect("the tests sign in first"));
        StatusCode::NO_CONTENT
    }

    /// The grant of the session's user.
    async fn grant(session: Session, mut request: Request, next: Next) -> Response {
        if let Some(user) = session.get::<String>("user").await.expect("the store is memory") {
            request.extensions_mut().insert(Grant::user(user));
        }
        next.run(request).await
    }

    pub(super) fn app(hub: &Hub) -> Router {
        Router::new()
            .route("/sign-in/{user}", post(sign_in))
            .route("/sign-out", post(sign_out))
            .with_state(hub.clone())
            .merge(super::own(hub))
            .layer(from_fn(grant))
            .layer(SessionManagerLayer::new(MemoryStore::default()))
            .layer(hub.layer())
    }
}

/// axum-login: its backend knows the users.
mod login {
    use super::*;

    type AuthSession = axum_login::AuthSession<Backend>;

    #[derive(Debug, Clone)]
    struct User(String);

    impl AuthUser for User {
        type Id = String;

        fn id(&self) -> String {
            self.0.clone()
        }

        fn session_auth_hash(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    #[derive(Clone)]
    struct Backend(Arc<HashMap<String, User>>);

    impl AuthnBackend for Backend {
        type User = User;
        type Credentials = String;
        type Error = Infallible;

        async fn authenticate(&self, name: String) -> Result<Option<User>, Infallible> {
            self.get_user(&name).await
        }

        async fn get_user(&self, name: &String) -> Result<Option<User>, Infallible> {
            Ok(self.0.get(name).cloned())
        }
    }

    async fn sign_in(mut auth: AuthSession, Path(name): Path<String>) -> StatusCode {
        let Some(user) = auth.authenticate(name).await.expect("it cannot fail") else {
            return StatusCode::UNAUTHORIZED;
        };
        auth.login(&user).await.expect("the store is memory");
        StatusCode::NO_CONTENT
    }

    async fn sign_out(State(hub): State<Hub>, mut auth: AuthSession) -> StatusCode {
        let user = auth.logout().await.expect("the store is memory");
        hub.disconnect_user(user.expect("the tests sign in first").id());
        StatusCode::NO_CONTENT
    }

    async fn grant(auth: AuthSession, mut request: Request, next: Next) -> Response {
        if let Some(user) = &auth.user {
            request.extensions_mut().insert(Grant::user(user.id()));
        }
        next.run(request).await
    }

    pub(super) fn app(hub: &Hub) -> Router {
        let users = ["alice", "bob"].map(|name| (name.to_owned(), User(name.to_owned())));
        // axum-login has its own tower-sessions, a version behind.
        let sessions =
            axum_login::tower_sessions::SessionManagerLayer::new(old_sessions::MemoryStore::default());
        let auth = AuthManagerLayerBuilder::new(Backend(Arc::new(HashMap::from(users))), sessions).build();
        Router::new()
            .route("/sign-in/{user}", post(sign_in))
            .route("/sign-out", post(sign_out))
            .with_state(hub.clone())
            .merge(super::own(hub))
            .layer(from_fn(grant))
            .layer(auth)
            .layer(hub.layer())
    }
}

/// The small app, and a mutation that is one user's matter.
fn own(hub: &Hub) -> Router {
    let rename = async |Path(user): Path<String>| Revalidate::key("users.me").to(("user", user));
    routes(hub).route("/rename/{user}", post(rename))
}

async fn signed_in(client: &Client, user: &str) -> Client {
    let answer = client.send(Method::POST, &format!("/sign-in/{user}"), "").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let cookie = answer.headers()[SET_COOKIE].to_str().expect("it is text");
    client.with(COOKIE, cookie.split(';').next().expect("it has a name and a value"))
}

/// Renames alice, then says something to everyone: what this stream hears first.
async fn first_heard(hub: &Hub, client: &Client, stream: &mut Stream) -> serde_json::Value {
    client.send(Method::POST, "/rename/alice", "").await;
    hub.revalidate("everyone");
    stream.next().await.expect("the stream goes on").data["keys"][0].clone()
}

async fn the_session_is_the_grant(hub: Hub, app: Router) {
    let stack = Stack::start(&hub, app).await;
    let nobody = stack.client();
    lets_through(&hub, &nobody).await;
    let (alice, bob) = (signed_in(&nobody, "alice").await, signed_in(&nobody, "bob").await);
    lets_through(&hub, &alice).await;

    let (mut hers, _) = alice.follow("news").await;
    let (mut his, _) = bob.follow("news").await;
    let (mut strangers, _) = nobody.follow("news").await;
    for (stream, first) in [(&mut his, json!(["everyone"])), (&mut strangers, json!(["everyone"]))] {
        assert_eq!(first_heard(&hub, &alice, stream).await, first);
        hears(&mut hers, "users.me").await;
        hears(&mut hers, "everyone").await;
    }
    hears(&mut strangers, "everyone").await;

    assert_eq!(alice.send(Method::POST, "/sign-out", "").await.status(), StatusCode::NO_CONTENT);
    let (last, whole) = hers.end().await;
    assert_eq!(last, [Event { name: "bye".to_owned(), data: json!({"reason": "grant"}) }]);
    assert!(whole);

    // With the same cookie and cursor she is nobody now, and the others did not notice.
    let (mut hers, _) = alice.resume("news", &hers).await;
    assert_eq!(first_heard(&hub, &alice, &mut hers).await, json!(["everyone"]));
    for stream in [&mut his, &mut strangers] {
        hears(stream, "everyone").await;
    }
}

/// Right order, from the inside: the app's routes and the mount, what puts the `Grant`, the session manager,
/// the hub's layer. So the grant is put around the mount too, sessions are saved before news of them is
/// published, and a sign-out that happens while a stream is being opened ends it.
#[tokio::test]
async fn a_session_of_tower_sessions_is_a_grant() {
    let hub = hub();
    the_session_is_the_grant(hub.clone(), plain::app(&hub)).await;
}

/// Right order: the same, with the auth manager in the place of the session manager.
#[tokio::test]
async fn a_session_of_axum_login_is_a_grant() {
    let hub = hub();
    the_session_is_the_grant(hub.clone(), login::app(&hub)).await;
}

/// Wrong: what puts the `Grant` before the service is nested. It does not see the mount, and everyone is a
/// stranger there. That fails closed.
#[tokio::test]
async fn a_grant_that_is_not_put_around_the_mount_is_nobodys() {
    let hub = hub();
    let grant = async |mut request: Request, next: Next| {
        request.extensions_mut().insert(Grant::user("alice"));
        next.run(request).await
    };
    let app = Router::new()
        .route("/rename/{user}", post(async || Revalidate::key("users.me").to(("user", "alice"))))
        .layer(from_fn(grant))
        .merge(routes(&hub))
        .layer(hub.layer());
    let stack = Stack::start(&hub, app).await;
    let client = stack.client();
    let (mut stream, _) = client.follow("news").await;
    assert_eq!(first_heard(&hub, &client, &mut stream).await, json!(["everyone"]));
}
