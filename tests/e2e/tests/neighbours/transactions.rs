//! A transaction per request: begun outside of the handler, committed when it answered 2xx.

use std::sync::{Arc, Mutex};

use axum::extract::{Extension, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use e2e::stack::{Stack, hears, routes};
use e2e::{Client, Stream, eventually, soon};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tower_revalidate::{Hub, Revalidate};

use super::hub;

/// A database of one table.
#[derive(Clone)]
struct Db {
    rows: Arc<Mutex<Vec<String>>>,
    commits: watch::Sender<Commits>,
    waiting: watch::Sender<usize>,
}

/// What happens to a commit.
#[derive(Clone, Copy, PartialEq)]
enum Commits {
    Wait,
    Succeed,
    Fail,
}

/// What a request wrote, and nobody else sees yet.
#[derive(Clone, Default)]
struct Transaction(Arc<Mutex<Vec<String>>>);

impl Db {
    fn new() -> Self {
        Db {
            rows: Arc::default(),
            commits: watch::Sender::new(Commits::Wait),
            waiting: watch::Sender::new(0),
        }
    }

    async fn commit(&self, rows: Vec<String>) -> Result<(), ()> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let decided = *self
            .commits
            .subscribe()
            .wait_for(|commits| *commits != Commits::Wait)
            .await
            .expect("the sender is here");
        if decided == Commits::Fail {
            return Err(());
        }
        self.rows.lock().expect("nobody panics").extend(rows);
        Ok(())
    }
}

async fn transaction(State(db): State<Db>, mut request: Request, next: Next) -> Response {
    let transaction = Transaction::default();
    request.extensions_mut().insert(transaction.clone());
    let response = next.run(request).await;
    let rows = std::mem::take(&mut *transaction.0.lock().expect("nobody panics"));
    if rows.is_empty() || !response.status().is_success() {
        return response;
    }
    match db.commit(rows).await {
        Ok(()) => response,
        Err(()) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn insert(Extension(transaction): Extension<Transaction>, row: String) -> impl IntoResponse {
    transaction.0.lock().expect("nobody panics").push(row);
    (StatusCode::CREATED, Revalidate::key("rows"))
}

async fn rows(State(db): State<Db>) -> Json<Vec<String>> {
    Json(db.rows.lock().expect("nobody panics").clone())
}

fn app(hub: &Hub, db: &Db) -> Router {
    let own = Router::new().route("/rows", post(insert).get(rows)).with_state(db.clone());
    routes(hub).merge(own)
}

/// A client whose mutation has run its handler, and waits for its commit.
async fn before_the_commit(hub: &Hub, app: Router, db: &Db) -> (Stack, Client, Stream, Mutation) {
    let stack = Stack::start(hub, app).await;
    let client = stack.client();
    let (stream, _) = client.follow("news").await;
    let sent = client.clone();
    let mutation = tokio::spawn(async move { sent.send(Method::POST, "/rows", "one").await.status() });
    soon("the commit", db.waiting.subscribe().wait_for(|waiting| *waiting == 1)).await.expect("it is here");
    (stack, client, stream, mutation)
}

type Mutation = tokio::task::JoinHandle<StatusCode>;

/// Right order: inside of the hub's layer. Who refetches on the news sees what was committed.
#[tokio::test]
async fn inside_of_the_layer_news_comes_after_the_commit() {
    let (hub, db) = (hub(), Db::new());
    let app = app(&hub, &db).layer(from_fn_with_state(db.clone(), transaction)).layer(hub.layer());
    let (_stack, client, mut stream, mutation) = before_the_commit(&hub, app, &db).await;
    hub.revalidate("before.the.commit");
    hears(&mut stream, "before.the.commit").await;

    db.commits.send_replace(Commits::Succeed);
    hears(&mut stream, "rows").await;
    assert_eq!(client.json(Method::GET, "/rows", "").await.1, json!(["one"]));
    assert_eq!(mutation.await.expect("it does not panic"), StatusCode::CREATED);
    for number in 2..20 {
        client.send(Method::POST, "/rows", &number.to_string()).await;
        hears(&mut stream, "rows").await;
        let (_, rows) = client.json(Method::GET, "/rows", "").await;
        assert_eq!(rows.as_array().map(Vec::len), Some(number));
    }
}

/// … and a commit that fails publishes nothing.
#[tokio::test]
async fn inside_of_the_layer_a_commit_that_fails_publishes_nothing() {
    let (hub, db) = (hub(), Db::new());
    let app = app(&hub, &db).layer(from_fn_with_state(db.clone(), transaction)).layer(hub.layer());
    let (_stack, _, mut stream, mutation) = before_the_commit(&hub, app, &db).await;
    db.commits.send_replace(Commits::Fail);
    assert_eq!(mutation.await.expect("it does not panic"), StatusCode::INTERNAL_SERVER_ERROR);
    hub.revalidate("and.nothing.else");
    hears(&mut stream, "and.nothing.else").await;
}

/// Wrong: outside of the hub's layer. The news comes before the commit, who refetches on it sees the old rows,
/// and nothing tells of the new ones. (A commit that fails was published, too.)
#[tokio::test]
async fn outside_of_the_layer_news_comes_before_the_commit() {
    let (hub, db) = (hub(), Db::new());
    let app = app(&hub, &db).layer(hub.layer()).layer(from_fn_with_state(db.clone(), transaction));
    let (_stack, client, mut stream, mutation) = before_the_commit(&hub, app, &db).await;
    hears(&mut stream, "rows").await;
    assert_eq!(client.json(Method::GET, "/rows", "").await.1, json!([]), "what the client refetched");

    db.commits.send_replace(Commits::Succeed);
    assert_eq!(mutation.await.expect("it does not panic"), StatusCode::CREATED);
    let committed = async || client.json(Method::GET, "/rows", "").await.1;
    eventually("the rows", json!(["one"]), committed).await;
    hub.revalidate("and.nothing.else");
    hears(&mut stream, "and.nothing.else").await;
}
