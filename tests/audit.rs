//! What an operator is told of: what was refused, and what was forgotten.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;

use common::{Visit, soon};
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revalidate::{
    Audit, Builder, Channel, Fault, Grant, Hub, Policy, PublishError, QueryKey, Refusal, Revalidate,
    RevalidateExt, message, revalidate,
};

/// What the hook was told, in short.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn by(&self, builder: Builder) -> Hub {
        let told = self.0.clone();
        let hook = move |audit: &Audit<'_>| {
            told.lock().push(match audit {
                Audit::Fault(fault) => fault.to_string(),
                Audit::Refused { status, code, .. } => format!("{} {code}", status.as_u16()),
                Audit::Denied { channels, identity, .. } => {
                    let denied = channels.iter().map(|denied| format!("{} {}", denied.channel, denied.code));
                    format!("{} {identity:?}", denied.collect::<Vec<_>>().join(", "))
                }
                Audit::Silent { method, uri, status, .. } => format!("{method} {uri} {}", status.as_u16()),
                other => panic!("{other:?}"),
            });
        };
        builder.on_audit(hook).build().unwrap()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// One request through the layer, to a handler that answers this.
async fn through(hub: &Hub, method: &str, response: Response<()>) -> Response<()> {
    let response = Mutex::new(Some(response));
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(response.lock().take().expect("it is asked once"))
    });
    let request = Request::builder().method(method).uri("/posts?page=1").body(()).unwrap();
    hub.layer().layer(handler).ready().await.unwrap().call(request).await.unwrap()
}

fn status(status: u16) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test(start_paused = true)]
async fn every_refusal_has_its_reason() {
    let told = Told::default();
    let hub = told.by(Hub::builder().max_channels(2).max_sessions(1));
    drop(Visit::user("alice").following("room:1,secret").open(&hub).await);
    assert_eq!(told.take(), [r#"secret accessdenied Some("alice")"#]);
    drop(Visit::stranger().following("secret,a*b").open(&hub).await);
    assert_eq!(told.take(), ["secret accessdenied, a*b malformed None"], "one stream is told once");
    drop(Visit::stranger().following("a,b,c").answer(&hub).await);
    assert_eq!(told.take(), ["400 malformed"]);
    let open = Visit::stranger().open(&hub).await;
    drop(Visit::stranger().following("secret").answer(&hub).await);
    assert_eq!(told.take(), ["503 busy"]);
    drop(open);
    hub.shutdown();
    drop(Visit::stranger().answer(&hub).await);
    assert_eq!(told.take(), ["503 shutdown"]);

    let refuses = |refusal: fn() -> Refusal| move |_| async move { Err::<Grant, _>(refusal()) };
    for (refusal, expected) in [
        ((|| Refusal::unauthorized("no")) as fn() -> Refusal, "401 unauthorized"),
        (|| Refusal::forbidden("no"), "403 accessdenied"),
        (|| Refusal::error("no"), "500 internal"),
    ] {
        let hub = told.by(Hub::builder().authorize(refuses(refusal)));
        drop(Visit::stranger().answer(&hub).await);
        assert_eq!(told.take(), [expected]);
    }
}

/// Row D11: who forgot to say what a handler changed learns it before the users do.
#[tokio::test(start_paused = true)]
async fn a_mutation_that_says_nothing_is_told() {
    let told = Told::default();
    let hub = told.by(Hub::builder().audit_mutations(true));
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        through(&hub, method, status(204)).await;
        assert_eq!(told.take(), [format!("{method} /posts?page=1 204")]);
    }
    for (method, response) in [
        ("GET", status(200)),
        ("HEAD", status(200)),
        ("OPTIONS", status(204)),
        ("POST", status(422)),
        ("POST", status(303)),
        ("POST", status(201).revalidate("posts.list")),
        ("POST", status(200).revalidate(Revalidate::nothing())),
        ("POST", status(200).revalidate(hub.pledge("posts.list"))),
    ] {
        through(&hub, method, response).await;
        assert_eq!(told.take(), [""; 0], "{method}");
    }
    let quiet = told.by(Hub::builder());
    through(&quiet, "POST", status(201)).await;
    assert_eq!(told.take(), [""; 0], "it is opt-in");
}

/// Row D12: a key that is declared so is never for everyone, by whichever way it comes.
#[tokio::test(start_paused = true)]
async fn a_scoped_key_is_for_nobody_without_an_audience() {
    let told = Told::default();
    let hub = told.by(Hub::builder().scoped_key("salaries"));
    let mut alice = hub.subscribe(Grant::user("alice")).unwrap();

    let said = Revalidate::keys(["salaries.list", "posts"]);
    through(&hub, "POST", status(201).revalidate(said)).await;
    assert_eq!(soon("the rest", alice.recv()).await.unwrap(), revalidate("posts"));
    let [fault] = &told.take()[..] else { panic!("one fault") };
    assert!(fault.contains(r#"["salaries","list"]"#), "{fault}");

    let key = QueryKey::new("salaries").unwrap();
    let refused = hub.revalidate(["posts", "salaries"]).await.unwrap_err();
    assert_eq!(refused, PublishError::Refused(Fault::Unscoped(key)));
    assert_eq!(told.take().len(), 1, "who drops the receipt is told here");
    drop(hub.pledge("salaries"));
    drop(hub.revalidate(Revalidate::key("users.me").to(("user", "*"))));
    assert_eq!(told.take().len(), 2);
    assert_eq!(alice.try_recv().unwrap(), None, "nothing of a refused publish is heard");

    hub.revalidate(Revalidate::key("salaries.list").to("user:alice")).await.unwrap();
    assert_eq!(soon("hers", alice.recv()).await.unwrap(), revalidate("salaries.list"));
    hub.revalidate("salariesOfOthers").await.unwrap();
    assert_eq!(soon("another key", alice.recv()).await.unwrap(), revalidate("salariesOfOthers"));
    assert_eq!(told.take(), [""; 0]);
}

/// Row D10: publishing where nobody may follow is a typed error, not silence.
#[tokio::test(start_paused = true)]
async fn only_declared_channels_if_the_builder_wants_that() {
    let declared = Hub::builder().channel("room:*", Policy::default()).declared_channels_only(true);
    let hub = declared.build().unwrap();
    let typo = Channel::new("rooms:1").unwrap();
    let refused = hub.channel(&typo).publish("x", &1).await.unwrap_err();
    assert_eq!(refused, PublishError::Undeclared(typo.clone()));
    hub.channel("room:1").publish("x", &1).await.unwrap();
    let grant = Grant::user("alice").follow("room:*").follow("rooms:*");
    let stream = Visit::of(grant.clone()).following("room:1,rooms:1").open(&hub).await;
    assert_eq!(stream.hello.json()["channels"], json!(["room:1"]));
    assert_eq!(stream.hello.json()["denied"], json!([{"channel": "rooms:1", "code": "accessdenied"}]));
    let sub = hub.subscribe(grant).unwrap();
    sub.follow(&typo).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_scoped_channel_is_not_public_whatever_another_declaration_says() {
    let hub = Hub::builder()
        .channel("user:**", Policy::default().scoped())
        .channel("user:*:status", Policy::latest().public())
        .build()
        .unwrap();
    let channel = Channel::new("user:7:status").unwrap();
    let refused = hub.channel(&channel).publish("x", &1).await.unwrap_err();
    assert_eq!(refused, PublishError::Unscoped(channel));
    let stranger = Visit::stranger().following("user:7:status").open(&hub).await;
    assert_eq!(stranger.hello.json()["channels"], json!([]));

    let mut owner =
        hub.subscribe(Grant::user(7).follow("user:7:inbox")).unwrap().follow("user:7:inbox").unwrap();
    hub.channel("user:7:inbox").publish("x", &1).await.unwrap();
    assert_eq!(soon("hers", owner.recv()).await.unwrap(), message("user:7:inbox", "x", &1));
}

/// Row D8: TLS is the host's; what came without it is refused if the app wants that.
#[tokio::test(start_paused = true)]
async fn a_stream_over_plain_http_is_refused_where_https_is_required() {
    let told = Told::default();
    let is_https = |parts: &http::request::Parts| {
        parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
    };
    let hub = told.by(Hub::builder().require_https(is_https));
    for plain in [Visit::user("alice"), Visit::user("alice").header("x-forwarded-proto", "http")] {
        let (status, error) = common::json(plain.answer(&hub).await).await;
        assert_eq!((status, &error["code"]), (StatusCode::FORBIDDEN, &"httpsrequired".into()));
        assert_eq!(told.take(), ["403 httpsrequired"]);
    }
    assert_eq!(hub.stats().sessions, 0);
    drop(Visit::user("alice").header("x-forwarded-proto", "https").open(&hub).await);
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_check_for_https_that_panics_opens_nothing_and_takes_nothing_down() {
    let told = Told::default();
    let hub = told.by(Hub::builder().require_https(|parts| {
        assert!(!parts.headers.contains_key("x-odd"), "a check that panics, on purpose");
        true
    }));
    let (status, error) = common::json(Visit::stranger().header("x-odd", "1").answer(&hub).await).await;
    assert_eq!((status, &error["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &"internal".into()));
    assert_eq!(told.take(), ["500 internal"]);
    drop(Visit::stranger().open(&hub).await);
}

#[test]
fn a_pattern_that_is_both_scoped_and_public_is_refused() {
    let both = Policy::latest().scoped().public();
    let (scoped, public) = (Policy::latest().scoped(), Policy::latest().public());
    for hub in [
        Hub::builder().channel("a:*", both),
        Hub::builder().channel("a:*", scoped).channel("a:*", public),
        Hub::builder().channel("a:*", public).channel("a:*", scoped),
    ] {
        assert_eq!(hub.build().unwrap_err().option, "channel");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_takes_nothing_down() {
    let hub = Hub::builder().on_audit(|_| panic!("a hook that panics, on purpose")).build().unwrap();
    let mut stream = Visit::stranger().following("secret").open(&hub).await;
    hub.revalidate("posts").await.unwrap();
    assert_eq!(stream.next().await.keys(), [r#"["posts"]"#]);
}
