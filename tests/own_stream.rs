//! Streams that handlers answer with themselves: a snapshot, then everything later.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::Stream as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{
    ByeReason, Cursor, Disconnect, Grant, Hub, OwnStream, Policy, SendError, SseBody, StreamError,
    SubscribeError,
};

/// What a plain `EventSource` makes of a stream: it knows nothing of this crate.
#[derive(Default)]
struct Source {
    body: Option<SseBody>,
    text: String,
    last_id: Option<String>,
    retry: Option<u64>,
    /// How many bytes the server had to write at the last reading.
    sent: usize,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    data: String,
}

fn event(name: &str, data: &Value) -> Event {
    Event { name: name.into(), data: data.to_string() }
}

impl Source {
    fn request(&self) -> Parts {
        let mut request = Request::get("/stream");
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(Grant::user("alice").follow("room:*"));
        parts
    }

    fn open(&mut self, stream: OwnStream) {
        (self.body, self.text) = (Some(stream.into_response().into_body()), String::new());
    }

    /// All that the server has to write now, as far as `bytes` of it reach the client.
    async fn read(&mut self, bytes: usize) -> Vec<Event> {
        let mut came = Vec::new();
        // Dispatch has its turns.
        for _ in 0..16 {
            tokio::task::yield_now().await;
            let body = self.body.as_mut().unwrap();
            while let Poll::Ready(Some(chunk)) =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_next(cx))).await
            {
                came.extend_from_slice(&chunk.unwrap());
            }
        }
        self.sent = came.len();
        came.truncate(bytes);
        self.text.push_str(&String::from_utf8(came).unwrap());
        let mut events = Vec::new();
        while let Some(end) = self.text.find("\n\n") {
            let block = self.text.drain(..end + 2).collect::<String>();
            let (mut name, mut data) = (String::new(), Vec::new());
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", value)) => name = value.into(),
                    Some(("data", value)) => data.push(value.to_owned()),
                    Some(("id", value)) => self.last_id = Some(value.into()),
                    Some(("retry", value)) => self.retry = Some(value.parse().unwrap()),
                    other => assert!(line.is_empty() || line.starts_with(':'), "{other:?} in {block:?}"),
                }
            }
            if !name.is_empty() {
                events.push(Event { name, data: data.join("\n") });
            }
        }
        events
    }
}

/// PROTOCOL R7, rows C3 and C4: each order in which two writers commit a row and publish it, and a handler opens its
/// stream, queries and answers; the client is cut anywhere in what it is sent first and comes back. No row is
/// missing, and one is told twice only where it was committed before the query and published after the stream had its
/// place.
#[tokio::test(start_paused = true)]
async fn nothing_is_missed_at_the_border_of_snapshot_and_stream() {
    let mut cases = 0;
    for order in orders([2, 2, 3]) {
        let whole = border(&order, usize::MAX).await;
        for cut in (0..=whole).step_by(5) {
            border(&order, cut).await;
            cases += 1;
        }
    }
    assert!(cases > 210 * 20, "{cases}");
}

/// Each order of steps of some parties, each with so many steps of its own.
fn orders<const N: usize>(left: [usize; N]) -> Vec<Vec<usize>> {
    if left.iter().all(|left| *left == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for party in (0..N).filter(|party| left[*party] > 0) {
        let mut rest = left;
        rest[party] -= 1;
        all.extend(orders(rest).into_iter().map(|tail| [vec![party], tail].concat()));
    }
    all
}

/// One order, cut after so many bytes; how many there were.
async fn border(order: &[usize], cut: usize) -> usize {
    let hub = Hub::new();
    let mut rows: Vec<u32> = Vec::new();
    let mut source = Source::default();
    let (mut stream, mut snapshot) = (None, None);
    let mut steps = [0; 3];
    let (mut placed, mut queried, mut published, mut committed) = (None, None, [None; 2], [None; 2]);
    for (time, &party) in order.iter().enumerate() {
        let step = steps[party];
        steps[party] += 1;
        match (party, step) {
            (2, 0) => {
                placed = Some(time);
                stream = Some(hub.stream(&source.request(), [("room", 1)]).unwrap());
            }
            (2, 1) => {
                queried = Some(time);
                snapshot = Some(rows.clone());
            }
            (2, _) => {
                let mut stream = stream.take().unwrap();
                assert!(!stream.resumed());
                stream.send("initial", &snapshot.take().unwrap()).unwrap();
                source.open(stream);
            }
            (writer, 0) => {
                committed[writer] = Some(time);
                rows.push(writer as u32);
            }
            (writer, _) => {
                published[writer] = Some(time);
                hub.channel(("room", 1)).publish("row", &writer).await.unwrap();
            }
        }
    }
    let mut told = BTreeMap::<u32, usize>::new();
    let mut tell = |events: Vec<Event>| {
        for event in events {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            match &*event.name {
                // A snapshot replaces.
                "initial" => {
                    told.clear();
                    data.as_array().unwrap().iter().for_each(|row| {
                        told.insert(row.as_u64().unwrap() as u32, 1);
                    });
                }
                "row" => *told.entry(data.as_u64().unwrap() as u32).or_default() += 1,
                other => panic!("{other}"),
            }
        }
    };
    let before = source.read(cut).await;
    let bytes = source.sent;
    tell(before);
    // It is cut, and comes back.
    let mut again = hub.stream(&source.request(), [("room", 1)]).unwrap();
    if !again.resumed() {
        again.send("initial", &rows).unwrap();
    }
    source.open(again);
    let rest = source.read(usize::MAX).await;
    tell(rest);
    hub.channel(("room", 1)).publish("row", &7).await.unwrap();
    let live = source.read(usize::MAX).await;
    assert_eq!(live, [event("row", &json!(7))], "{order:?} cut at {cut}");
    for writer in 0..2 {
        let is_border = committed[writer] < queried && placed < published[writer];
        let times = told.get(&(writer as u32)).copied().unwrap_or_default();
        assert!(times >= 1, "{writer} is missing: {order:?} cut at {cut}");
        assert!(times <= 1 + usize::from(is_border), "{writer} came {times} times: {order:?} cut at {cut}");
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_hole_since_the_clients_place_is_a_new_snapshot_and_no_gap() {
    let hub = Hub::builder().channel("room:*", Policy::history(2)).build().unwrap();
    let mut source = Source::default();
    source.open(hub.stream(&source.request(), [("room", 1)]).unwrap());
    source.read(usize::MAX).await;
    source.body = None;
    for number in 0..2 {
        hub.channel(("room", 1)).publish("row", &number).await.unwrap();
    }
    assert!(hub.stream(&source.request(), [("room", 1)]).unwrap().resumed());
    hub.channel(("room", 1)).publish("row", &2).await.unwrap();
    let mut anew = hub.stream(&source.request(), [("room", 1)]).unwrap();
    assert!(!anew.resumed());
    anew.send("initial", &"all of it").unwrap();
    source.open(anew);
    assert_eq!(source.read(usize::MAX).await, [event("initial", &json!("all of it"))]);
    // Behind, with the stream open, there is nobody to send a snapshot.
    for number in 0..3 {
        hub.channel(("room", 1)).publish("row", &number).await.unwrap();
    }
    let names: Vec<_> = source.read(usize::MAX).await.into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["gap", "row", "row"]);
    for strange in ["nonsense", "zzzz-1", "zzzz-ffff"] {
        source.last_id = Some(strange.into());
        assert!(!hub.stream(&source.request(), [("room", 1)]).unwrap().resumed(), "{strange}");
    }
}

/// Row C6.
#[tokio::test(start_paused = true)]
async fn what_is_sent_to_one_stream_is_heard_by_that_one_alone() {
    let hub = Hub::new();
    let (mut one, mut two) = (Source::default(), Source::default());
    let first = hub.stream(&one.request(), [("room", 1)]).unwrap();
    let handle = first.handle();
    one.open(first);
    two.open(hub.stream(&two.request(), [("room", 1)]).unwrap());
    one.read(usize::MAX).await;
    two.read(usize::MAX).await;
    let before = one.last_id.clone();
    for falsy in [json!(0), json!(false), json!(""), json!(null)] {
        handle.send("note", &falsy).unwrap();
        assert_eq!(one.read(usize::MAX).await, [event("note", &falsy)]);
    }
    handle.send_text("html", "<b>one</b>\n<b>two</b>\r\nid: 7").unwrap();
    let html = "<b>one</b>\n<b>two</b>\nid: 7".to_owned();
    assert_eq!(one.read(usize::MAX).await, [Event { name: "html".into(), data: html }]);
    assert_eq!(one.last_id, before, "it has no place in the order");
    assert_eq!(two.read(usize::MAX).await, []);
    // A client that does not read holds a bounded amount.
    let refused = (0..1000).find_map(|_| handle.send("note", &"x".repeat(1000)).err());
    assert_eq!(refused, Some(SendError::Full));
    one.read(usize::MAX).await;
    handle.send("note", &1).unwrap();
    one.body = None;
    assert!(handle.is_closed());
    assert_eq!(handle.send("note", &1), Err(SendError::Closed));
    for name in ["", "a\nid: 1", "gap"] {
        assert_eq!(two_handle(&hub).send(name, &1), Err(SendError::EventName(name.into())));
    }
}

fn two_handle(hub: &Hub) -> OwnStream {
    hub.stream(&Source::default().request(), [("room", 1)]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_sleeping_stream_is_sent_wakes_it() {
    let hub = Hub::new();
    let stream = hub.stream(&Source::default().request(), [("room", 1)]).unwrap();
    let handle = stream.handle();
    let mut body = stream.into_response().into_body();
    body.frame().await.unwrap().unwrap();
    let reader = tokio::spawn(async move { body.frame().await.unwrap().unwrap().into_data().unwrap() });
    tokio::task::yield_now().await;
    handle.send("note", &1).unwrap();
    let chunk = common::soon("what was sent", reader).await.unwrap();
    assert_eq!(chunk, "event: note\ndata: 1\n\n");
}

/// Rows A17 and C10.
#[tokio::test(start_paused = true)]
async fn its_end_is_told_once_whatever_ended_it() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counts = opened.clone();
    let hub = Hub::builder()
        .on_connect(move |_| {
            counts.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let open = || {
        let stream = hub.stream(&Source::default().request(), [("room", 1)]).unwrap();
        let ended = ended.clone();
        stream.on_disconnect(move || {
            ended.fetch_add(1, Ordering::SeqCst);
        });
        stream
    };
    drop(open());
    assert_eq!((ended.load(Ordering::SeqCst), opened.load(Ordering::SeqCst)), (1, 0), "it never began");
    let mut source = Source::default();
    source.open(open());
    source.read(usize::MAX).await;
    assert_eq!((ended.load(Ordering::SeqCst), opened.load(Ordering::SeqCst)), (1, 1));
    source.body = None;
    assert_eq!(ended.load(Ordering::SeqCst), 2);
    source.open(open());
    source.read(usize::MAX).await;
    hub.disconnect_user("alice").await.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 3, "while nobody polls it");
    source.body = None;
    assert_eq!(ended.load(Ordering::SeqCst), 3);
    let stalled = open().into_response();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ended.load(Ordering::SeqCst), 4);
    drop(stalled);
    let stream = hub.stream(&Source::default().request(), [("room", 1)]).unwrap();
    stream.on_disconnect(|| panic!("an app's own"));
    drop(stream);
    assert_eq!(hub.stats().sessions, 0);
}

/// Its end came before its beginning, and is told with its reason all the same.
#[tokio::test(start_paused = true)]
async fn why_it_ended_is_told_where_a_handler_waits_for_it_too() {
    let (tell, told) = std::sync::mpsc::channel();
    let hub = Hub::builder().on_disconnect(move |_, why| tell.send(why).unwrap_or_default()).build().unwrap();
    let stream = hub.stream(&Source::default().request(), [("room", 1)]).unwrap();
    stream.on_disconnect(|| {});
    let mut source = Source::default();
    source.open(stream);
    hub.shutdown();
    source.read(usize::MAX).await;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Disconnect::Bye(ByeReason::Shutdown)]);
}

#[tokio::test(start_paused = true)]
async fn the_grant_decides_and_the_handler_may() {
    let hub = Hub::new();
    let mut parts = Source::default().request();
    let denied = hub.stream(&parts, [("room", "1"), ("secret", "1")]).unwrap_err();
    assert!(
        matches!(denied.subscribe_error(), Some(SubscribeError::Denied(channel)) if channel.as_str() == "secret:1")
    );
    assert_eq!(denied.into_response().status(), StatusCode::FORBIDDEN);
    let malformed = hub.stream(&parts, [("room", "*")]).unwrap_err();
    assert_eq!(malformed.into_response().status(), StatusCode::BAD_REQUEST);
    parts.extensions.remove::<Grant>();
    assert!(hub.stream(&parts, [("room", 1)]).is_err(), "no grant: public channels only");
    let own = hub.stream_as(Grant::user("alice").follow(("secret", 1)), &parts, [("secret", 1)]).unwrap();
    drop(own);
    parts.method = http::Method::HEAD;
    let head = hub.stream_as(Grant::anonymous().follow("**"), &parts, [("room", 1)]).unwrap();
    assert_eq!(hub.stats().sessions, 0, "HEAD opens nothing");
    let head = head.into_response();
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    hub.shutdown();
    parts.method = http::Method::GET;
    let late =
        hub.stream_as(Grant::anonymous().follow("**"), &parts, [("room", 1)]).unwrap_err().into_response();
    assert_eq!(late.status(), StatusCode::OK, "an `EventSource` cannot read another");
    let text = late.into_body().collect().await.unwrap().to_bytes();
    assert!(text.starts_with(b"retry: "), "{text:?}");
}

#[tokio::test(start_paused = true)]
async fn its_user_is_present_from_the_first_poll_on() {
    let hub = Hub::new();
    let mut source = Source::default();
    let mut stream = hub.stream(&source.request(), [("room", 1)]).unwrap();
    stream.join(("room", 1)).unwrap();
    assert!(matches!(stream.join("secret"), Err(SubscribeError::Denied(_))));
    assert!(!hub.presence(("room", 1)).unwrap().has("alice"));
    source.open(stream);
    let told = source.read(usize::MAX).await;
    assert_eq!(
        told,
        [Event { name: "presence".into(), data: r#"{"users":[{"userId":"alice"}],"count":1}"#.into() }]
    );
    source.body = None;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!hub.presence(("room", 1)).unwrap().has("alice"));
}

/// Rows C1, C2, C7 and G2, defect 2: the app's own middleware stands in front of a handler's stream.
#[tokio::test]
async fn the_apps_own_middleware_guards_it() {
    async fn stream(
        State(hub): State<Hub>,
        Path(room): Path<u32>,
        parts: Parts,
    ) -> Result<impl IntoResponse, StreamError> {
        let mut stream = hub.stream(&parts, [("room", room)])?;
        stream.send("connected", &json!({"status": "Connected to room"}))?;
        Ok(stream)
    }
    async fn guard(
        request: axum::extract::Request,
        next: axum::middleware::Next,
    ) -> axum::response::Response {
        match request.headers().get("authorization") {
            Some(_) => next.run(request).await,
            None => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
    let hub = Hub::new();
    let app = Router::new()
        .route("/rooms/{room}/stream", get(stream))
        .layer(Extension(Grant::user("alice").follow("room:*")))
        .layer(axum::middleware::from_fn(guard))
        .layer(hub.layer())
        .with_state(hub.clone());
    let ask = |room: u32, header: Option<&str>| {
        let mut request = Request::get(format!("/rooms/{room}/stream"));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(ask(1, None).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(hub.stats().sessions, 0);
    let (mut one, mut two) = (ask(1, Some("x")).await.unwrap(), ask(2, Some("x")).await.unwrap());
    assert!(one.headers().get("x-revalidate-cursor").is_none());
    for response in [&mut one, &mut two] {
        let chunk = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&chunk).unwrap();
        assert!(text.contains("event: connected\ndata: {\"status\":\"Connected to room\"}\n\n"), "{text}");
    }
    hub.channel(("room", 2)).publish("row", &1).await.unwrap();
    let chunk = common::soon("the row", two.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap();
    let id: Cursor = hub.cursor();
    assert_eq!(chunk, format!("id: {id}\nevent: row\ndata: 1\n\n"));
    drop((one, two));
    assert_eq!(hub.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_asked_for_twice_is_followed_once() {
    let hub = Hub::new();
    let mut source = Source::default();
    source.open(hub.stream(&source.request(), [("room", 1), ("room", 1), ("room", 2)]).unwrap());
    source.read(usize::MAX).await;
    hub.channel(("room", 1)).publish("note", &1);
    assert_eq!(source.read(usize::MAX).await, [event("note", &json!(1))]);
    source.body = None;
    assert_eq!((hub.stats().sessions, hub.stats().subscriptions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_handle_of_a_stream_that_never_began_is_closed() {
    let hub = Hub::new();
    let stream = two_handle(&hub);
    let handle = stream.handle();
    handle.send("note", &1).unwrap();
    drop(stream);
    assert!(handle.is_closed());
    assert_eq!(handle.send("note", &1), Err(SendError::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_that_a_head_asked_for_is_told_too() {
    let hub = Hub::new();
    let mut parts = Source::default().request();
    parts.method = http::Method::HEAD;
    let stream = hub.stream(&parts, [("room", 1)]).unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let counts = ended.clone();
    stream.on_disconnect(move || {
        counts.fetch_add(1, Ordering::SeqCst);
    });
    stream.on_disconnect(|| panic!("an app's own"));
    drop(stream);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}
