//! The examples' promises, the same for each framework: what each route answers, who hears what, how it ends.

use std::time::{Duration, Instant};

use e2e::{Client, Event, Example, Server, Signal};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// A server that was told to end has ended by then.
const END: Duration = Duration::from_secs(6);

async fn routes_answer(example: Example) {
    let server = Server::start(example).await;
    let nobody = Client::http1(&server);
    let (alice, carol) = (nobody.signed_in("alice"), nobody.signed_in("carol"));

    let page = nobody.send(Method::GET, "/", "").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    let (status, posts) = nobody.json(Method::GET, "/posts", "").await;
    assert_eq!((status.as_u16(), posts), (200, json!({"posts": []})));
    let (status, post) = nobody.json(Method::POST, "/posts", r#"{"title":"one"}"#).await;
    assert_eq!((status.as_u16(), post), (201, json!({"id": 1, "title": "one"})));
    let (_, posts) = nobody.json(Method::GET, "/posts", "").await;
    assert_eq!(posts, json!({"posts": [{"id": 1, "title": "one"}]}));
    let (status, profile) = alice.json(Method::PATCH, "/profile", r#"{"name":"Al"}"#).await;
    assert_eq!((status.as_u16(), profile), (200, json!({"name": "Al"})));
    let (_, profile) = alice.json(Method::GET, "/profile", "").await;
    assert_eq!(profile, json!({"name": "Al"}));
    let (status, message) = alice.json(Method::POST, "/rooms/1/messages", r#"{"text":"hi"}"#).await;
    assert_eq!((status.as_u16(), message), (201, json!({"text": "hi", "sender": "alice"})));
    let (status, _) = nobody.json(Method::POST, "/announce", r#"{"text":"hear"}"#).await;
    assert_eq!(status, 201);

    for (client, method, path, body, status, code) in [
        (&nobody, Method::POST, "/posts", r#"{"title":" "}"#, 422, "invalid"),
        (&nobody, Method::POST, "/posts", r#"{"title":"#, 400, "malformed"),
        (&nobody, Method::PATCH, "/profile", r#"{"name":"x"}"#, 401, "unauthorized"),
        (&nobody, Method::POST, "/rooms/1/messages", r#"{"text":"hi"}"#, 403, "accessdenied"),
        (&carol, Method::POST, "/rooms/1/messages", r#"{"text":"hi"}"#, 403, "accessdenied"),
        (&alice, Method::POST, "/rooms/2/messages", r#"{"text":"hi"}"#, 403, "accessdenied"),
        (&nobody, Method::GET, "/nowhere", "", 404, "notfound"),
        (&nobody, Method::DELETE, "/posts", "", 405, "methodnotallowed"),
        (
            &nobody,
            Method::POST,
            "/posts",
            &format!(r#"{{"title":"{}"}}"#, "x".repeat(50_000)),
            413,
            "toolarge",
        ),
    ] {
        let (answered, failure) = client.json(method, path, body).await;
        assert_eq!((answered.as_u16(), &failure["code"]), (status, &json!(code)), "{path} {failure}");
        assert!(failure["message"].is_string());
    }
}

async fn everyone_hears_what_is_theirs(example: Example, versions: &[fn(&Server) -> Client]) {
    let server = Server::start(example).await;
    for version in versions {
        let nobody = version(&server);
        let alice = nobody.signed_in("alice");
        let (mut hers, hello) = alice.follow("announcements,room:1,user:alice:notices").await;
        assert_eq!(hello["denied"], json!([]), "{hello}");
        let (mut strangers, hello) = nobody.follow("announcements,room:1").await;
        assert_eq!(hello["channels"], json!(["announcements"]), "{hello}");
        assert_eq!(hello["denied"][0]["channel"], "room:1", "{hello}");

        // Nobody hears of what was refused: what comes first is of what follows.
        nobody.json(Method::POST, "/posts", r#"{"title":""}"#).await;
        alice.json(Method::POST, "/posts", r#"{"title":"one"}"#).await;
        for stream in [&mut hers, &mut strangers] {
            assert_eq!(keys(stream.next().await), json!([["posts", "list"]]));
        }
        alice.json(Method::PATCH, "/profile", r#"{"name":"Al"}"#).await;
        assert_eq!(keys(hers.next().await), json!([["users", "me"]]));
        alice.json(Method::POST, "/rooms/1/messages", r#"{"text":"hi"}"#).await;
        let said = json!({"text": "hi", "sender": "alice"});
        assert_eq!(hers.next().await, Some(message("room:1", "new_message", &said)));

        nobody.json(Method::POST, "/announce", r#"{"text":"hear"}"#).await;
        for stream in [&mut hers, &mut strangers] {
            let announced = message("announcements", "announcement", &json!({"text": "hear"}));
            assert_eq!(stream.next().await, Some(announced));
        }
    }
}

async fn signals_end_it(example: Example) {
    for signal in [Signal::Term, Signal::Int] {
        let server = Server::start(example).await;
        let client = Client::http1(&server);
        let (mut stream, _) = client.follow("announcements").await;
        let mut deaf = a_client_that_does_not_read(&server, &client).await;

        let told = Instant::now();
        let heard = tokio::spawn(async move {
            let mut last = None;
            while let Some(event) = stream.next().await {
                last = Some(event);
            }
            last
        });
        let ended = server.end(signal).await;
        assert!(told.elapsed() < END, "{signal:?}: it took {:?}", told.elapsed());
        assert!(ended.success(), "{signal:?}: {ended}");
        let bye = heard.await.expect("the reader does not panic").expect("something was said");
        assert_eq!((bye.name.as_str(), &bye.data["reason"]), ("bye", &json!("shutdown")));
        // Held open until here; the server is gone, so it may fail.
        let _ = deaf.shutdown().await;
    }
}

/// Follows the announcements and reads none of them, until the server cannot write any more.
async fn a_client_that_does_not_read(server: &Server, client: &Client) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let address = ([127, 0, 0, 1], server.port()).into();
    let mut deaf = socket.connect(address).await.expect("the server listens");
    let request = "GET /realtime/events?channels=announcements HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    deaf.write_all(request.as_bytes()).await.expect("the server reads");
    deaf.readable().await.expect("the server answers");
    let announcement = json!({"text": "x".repeat(32 * 1024)}).to_string();
    for _ in 0..256 {
        let (status, _) = client.json(Method::POST, "/announce", &announcement).await;
        assert_eq!(status, 201);
    }
    deaf
}

fn keys(event: Option<Event>) -> serde_json::Value {
    let event = event.expect("the stream goes on");
    assert_eq!(event.name, "revalidate", "{event:?}");
    event.data["keys"].clone()
}

fn message(channel: &str, event: &str, data: &serde_json::Value) -> Event {
    Event { name: "message".to_owned(), data: json!({"channel": channel, "event": event, "data": data}) }
}

macro_rules! for_each_example {
    ($($framework:ident: $example:expr, $versions:expr;)+) => {$(
        mod $framework {
            use super::*;

            #[tokio::test]
            async fn routes_answer() {
                super::routes_answer($example).await;
            }

            #[tokio::test]
            async fn everyone_hears_what_is_theirs() {
                super::everyone_hears_what_is_theirs($example, $versions).await;
            }

            #[tokio::test]
            async fn signals_end_it() {
                super::signals_end_it($example).await;
            }
        }
    )+};
}

for_each_example! {
    axum: Example::Axum, &[Client::http1];
    hyper: Example::Hyper, &[Client::http1, Client::http2];
}
