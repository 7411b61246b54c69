//! Clients that nobody here wrote read the streams: each with its own defaults, and what it does then.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use e2e::stack::Stack;
use e2e::{Chromium, Client, Example, Link, Listener, Make, Server, Signal, eventually};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower_revalidate::{Grant, Hub, Policy};

/// A hub under `/realtime`, and an empty page wherever it is not.
async fn serve(hub: &Hub) -> Stack {
    let page = Html("<!doctype html><link rel=icon href=data:,>");
    let app = Router::new().nest_service("/realtime", hub.service()).fallback(async move || page);
    Stack::start(hub, app).await
}

/// A bare `id:` moves what it sends when it comes back, as WHATWG HTML, 9.2.6 says. The others go by the last
/// *event*, and are sent nothing twice all the same: each message has an id of its own.
fn moves_on_a_bare_id(make: Make) -> bool {
    !matches!(make, Make::EventsourceClient | Make::ReqwestEventsource)
}

/// Comes back after a status other than 200. The others gave up for good, as WHATWG HTML, 9.2.3 says.
fn outlives_a_status(make: Make) -> bool {
    matches!(make, Make::EventsourceClient | Make::EventsourceParser)
}

/// Every client, each on a link of its own.
struct All {
    links: Vec<Link>,
    listeners: Vec<Listener>,
}

impl All {
    /// They all listen, and heard that they begin anew.
    async fn of(port: u16, browser: &Chromium) -> Self {
        let (mut links, mut listeners) = (Vec::new(), Vec::new());
        for make in Make::ALL {
            let link = Link::to(port).await;
            listeners.push(make.listen(&link.url(), browser).await);
            links.push(link);
        }
        let mut all = All { links, listeners };
        for listener in &mut all.listeners {
            assert!(!listener.hello().await, "{:?}", listener.make);
        }
        all
    }

    /// Cuts every link, and waits until that was noticed.
    async fn cut(&mut self) {
        self.links.iter().for_each(Link::cut);
        for listener in &mut self.listeners {
            listener.lost().await;
        }
    }

    fn mend(&self) {
        self.links.iter().for_each(Link::mend);
    }

    /// Who, and their links.
    fn each(&mut self) -> impl Iterator<Item = (&mut Listener, &Link)> {
        self.listeners.iter_mut().zip(&self.links)
    }

    /// What each hears next is this.
    async fn hear(&mut self, expected: &[(&str, Value)]) {
        for listener in &mut self.listeners {
            for (name, brief) in expected {
                let event = listener.event().await;
                let heard = match event.name.as_str() {
                    "hello" => event.data["resumed"].clone(),
                    "revalidate" => event.data["keys"].clone(),
                    "message" => event.data["data"]["text"].clone(),
                    _ => event.data["reason"].clone(),
                };
                assert_eq!((event.name.as_str(), heard), (*name, brief.clone()), "{:?}", listener.make);
            }
        }
    }
}

async fn read_and_resume(example: Example, browser: Arc<Chromium>) {
    let server = Server::start(example).await;
    let app = Client::of(server.url());
    let post = async || app.json(Method::POST, "/posts", r#"{"title":"one"}"#).await;
    let announce = async |text: &str| {
        app.json(Method::POST, "/announce", &json!({"text": text}).to_string()).await;
    };
    let posts = json!([["posts", "list"]]);

    let mut all = All::of(server.port(), &browser).await;
    post().await;
    announce("before").await;
    all.hear(&[("revalidate", posts.clone()), ("message", json!("before"))]).await;

    all.cut().await;
    post().await;
    announce("meanwhile").await;
    announce("and again").await;
    all.mend();
    all.hear(&[
        ("hello", json!(true)),
        ("revalidate", posts),
        ("message", json!("meanwhile")),
        ("message", json!("and again")),
    ])
    .await;
    announce("after").await;
    all.hear(&[("message", json!("after"))]).await;
}

#[tokio::test]
async fn each_reads_and_resumes_on_every_framework() {
    let browser = Arc::new(Chromium::start().await);
    let mut examples: JoinSet<()> =
        Example::ALL.map(|example| read_and_resume(example, browser.clone())).into_iter().collect();
    while let Some(ended) = examples.join_next().await {
        ended.expect("a failure is in the output");
    }
}

/// `bye` at the end of a server, which another one follows.
#[tokio::test]
async fn each_returns_to_a_server_that_was_restarted() {
    let server = Server::start(Example::Axum).await;
    let port = server.port();
    let browser = Chromium::start().await;
    let mut all = All::of(port, &browser).await;
    assert!(server.end(Signal::Term).await.success());
    all.hear(&[("bye", json!("shutdown"))]).await;

    let server = Server::start_on(Example::Axum, port).await;
    // What was in memory is gone, and that is told.
    all.hear(&[("hello", json!(false)), ("gap", json!("unknown"))]).await;
    Client::of(server.url()).json(Method::POST, "/announce", r#"{"text":"here again"}"#).await;
    all.hear(&[("message", json!("here again"))]).await;
}

/// The id as the heartbeat carries it, of an event that is not theirs.
#[tokio::test]
async fn a_bare_id_moves_those_that_keep_to_the_standard() {
    let hub = announcing().heartbeat(Duration::from_millis(200)).build().expect("it is right");
    let server = serve(&hub).await;
    let before = hub.cursor().to_string();
    let browser = Chromium::start().await;
    let mut all = All::of(server.port(), &browser).await;
    let after = hub.channel("elsewhere").publish("news", &1).await.expect("it is accepted").to_string();
    let beat = format!(": {after}\nid: {after}\n\n");
    for link in &all.links {
        // Two, so that the first was read when the connection ends.
        link.carried("two heartbeats", |traffic| traffic.told.matches(&beat).count() > 1).await;
    }

    all.cut().await;
    all.mend();
    for (listener, link) in all.each() {
        assert!(listener.hello().await, "{:?}", listener.make);
        let sent = if moves_on_a_bare_id(listener.make) { &after } else { &before };
        assert_eq!(link.asked(), [None, Some(sent.clone())], "{:?}", listener.make);
    }
    announce(&hub, "once").await;
    all.hear(&[("message", json!("once"))]).await;
}

#[tokio::test]
async fn each_returns_after_it_was_turned_away() {
    let hub = announcing().max_sessions(Make::ALL.len()).build().expect("it is right");
    let server = serve(&hub).await;
    let browser = Chromium::start().await;
    let mut all = All::of(server.port(), &browser).await;
    announce(&hub, "before").await;
    all.hear(&[("message", json!("before"))]).await;
    let before = hub.cursor().to_string();

    all.cut().await;
    eventually("all of them gone", 0, async || hub.stats().sessions).await;
    let others: Vec<_> = Make::ALL.iter().map(|_| hub.subscribe(Grant::anonymous())).collect();
    announce(&hub, "meanwhile").await;
    all.mend();
    all.hear(&[("bye", json!("busy"))]).await;

    drop(others);
    for (listener, link) in all.each() {
        let mut event = listener.event().await;
        // Turned away once more, while others still waited for their first time.
        while event.name == "bye" {
            event = listener.event().await;
        }
        assert_eq!(
            (event.name.as_str(), &event.data["resumed"]),
            ("hello", &json!(true)),
            "{:?}",
            listener.make
        );
        let asked: Vec<_> = link.asked().into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(asked[..2], ["", &before], "{:?}", listener.make);
        assert!(asked[2..].iter().all(|id| *id == before), "{:?} sent {asked:?}", listener.make);
        assert_eq!(listener.event().await.data["data"]["text"], "meanwhile", "{:?}", listener.make);
    }
    announce(&hub, "after").await;
    all.hear(&[("message", json!("after"))]).await;
}

async fn answer(status: u16, browser: Arc<Chromium>) {
    let hub = announcing().build().expect("it is right");
    let server = serve(&hub).await;
    let mut all = All::of(server.port(), &browser).await;
    for link in &all.links {
        link.answer(status);
    }
    for (listener, link) in all.each() {
        if outlives_a_status(listener.make) {
            link.carried("another try", |traffic| traffic.asked.len() > 1).await;
        } else {
            listener.gave_up().await;
        }
    }
    announce(&hub, "meanwhile").await;
    all.mend();
    for (listener, _) in all.each().filter(|(listener, _)| outlives_a_status(listener.make)) {
        assert!(listener.hello().await, "{:?}", listener.make);
        assert_eq!(listener.event().await.data["data"]["text"], "meanwhile", "{:?}", listener.make);
    }
}

/// At the first connect, all give up but a loop of one's own.
async fn answer_at_first(status: u16, browser: &Chromium) {
    let hub = announcing().build().expect("it is right");
    let server = serve(&hub).await;
    // The browser would have no page to listen from.
    for make in Make::ALL.into_iter().filter(|make| *make != Make::Chromium) {
        let link = Link::to(server.port()).await;
        link.answer(status);
        let mut listener = make.listen(&link.url(), browser).await;
        if make == Make::EventsourceParser {
            listener.lost().await;
            link.mend();
            assert!(!listener.hello().await);
        } else {
            listener.gave_up().await;
        }
    }
}

#[tokio::test]
async fn a_status_ends_those_that_keep_to_the_standard() {
    let browser = Arc::new(Chromium::start().await);
    let answers = async |status, browser: Arc<Chromium>| {
        answer_at_first(status, &browser).await;
        answer(status, browser).await;
    };
    let mut statuses: JoinSet<()> =
        [503, 401].into_iter().map(|status| answers(status, browser.clone())).collect();
    while let Some(ended) = statuses.join_next().await {
        ended.expect("a failure is in the output");
    }
}

fn announcing() -> tower_revalidate::Builder {
    Hub::builder().channel("announcements", Policy::history(64).public())
}

async fn announce(hub: &Hub, text: &str) {
    let receipt = hub.channel("announcements").publish("announcement", &json!({"text": text}));
    receipt.await.expect("it is accepted");
}
