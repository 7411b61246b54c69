//! nginx and HAProxy in front of streams. Their configuration is the least that proxies: what a user gets who
//! knows nothing of streams. The page for users is `docs/neighbours.md`.

use std::time::{Duration, Instant};

use e2e::proxy::{Proxy, Proxying};
use e2e::stack::{self, Stack, hears, lets_through, routes};
use e2e::{Event, eventually, soon};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};
use tower_revalidate::Hub;

/// Short, so that a test sees several.
const HEARTBEAT: Duration = Duration::from_millis(300);
/// Long enough that no test sees one.
const NEVER: Duration = Duration::from_secs(600);

async fn behind(proxying: Proxying<'_>, heartbeat: Duration) -> (Hub, Stack, Proxy) {
    let hub = stack::hub(heartbeat);
    let stack = Stack::start(&hub, routes(&hub).layer(hub.layer())).await;
    let proxy = Proxy::start(proxying, stack.port()).await;
    (hub, stack, proxy)
}

/// What the app sees of a request: its version, and the lines of this name.
async fn seen(proxy: &Proxy, forged: &[&str], name: &str) -> (String, Vec<String>) {
    let client = forged.iter().fold(proxy.client(), |client, address| {
        client.with(HeaderName::from_static("x-forwarded-for"), address)
    });
    let (_, seen) = client.json(Method::GET, "/posts", "").await;
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let lines = seen["lines"].as_array().expect("there are lines").iter();
    let lines = lines.filter(|line| line[0] == name).map(|line| text(&line[1])).collect();
    (text(&seen["version"]), lines)
}

/// With heartbeats, and where nothing that follows pushes on what was held back.
async fn lets_streams_through(proxying: Proxying<'_>) {
    for heartbeat in [HEARTBEAT, NEVER] {
        let (hub, _stack, proxy) = behind(proxying, heartbeat).await;
        lets_through(&hub, &proxy.client().with(ACCEPT_ENCODING, "gzip")).await;
    }
}

async fn resumes_when_the_proxy_is_back(proxying: Proxying<'_>) {
    let (hub, stack, proxy) = behind(proxying, HEARTBEAT).await;
    let client = proxy.client();
    let (mut stream, _) = client.follow("news").await;
    client.send(Method::POST, "/posts", "").await;
    hears(&mut stream, "posts.list").await;

    let port = proxy.port();
    proxy.kill().await;
    assert!(!stream.end().await.1, "it was cut");
    hub.revalidate("meanwhile");
    let _proxy = Proxy::start_on(proxying, port, stack.port()).await;
    let (mut stream, hello) = client.resume("news", &stream).await;
    assert_eq!(hello["resumed"], true);
    hears(&mut stream, "meanwhile").await;
    eventually("sessions", 1, async || hub.stats().sessions).await;
}

/// The client learns why, and that this is the end; the proxy goes on.
async fn a_shutdown_ends_streams(proxying: Proxying<'_>) {
    let (hub, _stack, proxy) = behind(proxying, HEARTBEAT).await;
    let (mut stream, _) = proxy.client().follow("news").await;
    hub.shutdown();
    let (heard, whole) = stream.end().await;
    assert!(whole);
    assert_eq!(heard, [Event { name: "bye".to_owned(), data: json!({"reason": "shutdown"}) }]);
    assert_eq!(proxy.client().send(Method::GET, "/posts", "").await.status(), StatusCode::OK);
}

/// A proxy that hangs up on silence after three seconds, under a heartbeat of much less.
async fn heartbeats_keep_it_open(proxying: Proxying<'_>) {
    let (hub, _stack, proxy) = behind(proxying, HEARTBEAT).await;
    let opened = Instant::now();
    let (mut stream, _) = proxy.client().follow("news").await;
    while opened.elapsed() < Duration::from_secs(7) {
        stream.heartbeat().await;
    }
    hub.revalidate("late");
    hears(&mut stream, "late").await;
}

/// The same proxy under a heartbeat that is too long for it: the stream is cut, and resumed.
async fn a_silence_too_long_is_cut_and_resumed(proxying: Proxying<'_>) {
    let (hub, _stack, proxy) = behind(proxying, NEVER).await;
    let client = proxy.client();
    let (mut stream, _) = client.follow("news").await;
    let (heard, whole) = stream.end().await;
    assert!(heard.is_empty() && !whole, "{heard:?}");
    hub.revalidate("meanwhile");
    let (mut stream, hello) = client.resume("news", &stream).await;
    assert_eq!(hello["resumed"], true);
    hears(&mut stream, "meanwhile").await;
}

mod nginx {
    use super::*;

    const LEAST: Proxying<'_> = Proxying::Nginx("");
    const HASTY: Proxying<'_> = Proxying::Nginx("proxy_read_timeout 3s;");

    /// Its buffering is on, and it speaks HTTP/1.0 to the app: `X-Accel-Buffering: no` is enough.
    #[tokio::test]
    async fn lets_streams_through_as_it_is() {
        super::lets_streams_through(LEAST).await;
        let (_hub, _stack, proxy) = behind(LEAST, NEVER).await;
        assert_eq!(seen(&proxy, &[], "connection").await, ("HTTP/1.0".to_owned(), vec!["close".to_owned()]));
    }

    #[tokio::test]
    async fn lets_streams_through_over_http1_1() {
        let more = "proxy_http_version 1.1; proxy_set_header Connection '';";
        super::lets_streams_through(Proxying::Nginx(more)).await;
        let (_hub, _stack, proxy) = behind(Proxying::Nginx(more), NEVER).await;
        assert_eq!(seen(&proxy, &[], "connection").await, ("HTTP/1.1".to_owned(), vec![]));
    }

    /// Wrong: the one directive that makes it deaf to the app. Not even the head passes, until more is there than
    /// its first buffers hold.
    #[tokio::test]
    async fn holds_everything_back_where_it_ignores_the_app() {
        let deaf = Proxying::Nginx("proxy_ignore_headers X-Accel-Buffering;");
        for (proxying, passes) in [(LEAST, true), (deaf, false)] {
            let (hub, _stack, proxy) = behind(proxying, NEVER).await;
            let client = proxy.client();
            let mut following = tokio::spawn(async move { client.follow("news").await });
            // Head and `hello` are one write, in the same turn of this runtime. It has one thread, as this nginx
            // has: what it passes on it does before it answers requests that were made later.
            eventually("sessions", 1, async || hub.stats().sessions).await;
            for _ in 0..3 {
                seen(&proxy, &[], "host").await;
            }
            assert_eq!(following.is_finished(), passes);
            let large = "x".repeat(32 << 10);
            let filled = async {
                while !following.is_finished() {
                    hub.channel("news").publish("large", &large).await.expect("it is published");
                }
            };
            soon("the head", filled).await;
            (&mut following).await.expect("it does not panic");
        }
    }

    /// Its default types leave streams alone.
    #[tokio::test]
    async fn gzip_leaves_streams_alone() {
        super::lets_streams_through(Proxying::Nginx("gzip on;")).await;
    }

    /// Wrong: every type. It compresses streams in spite of their `no-transform`, and flushes each write.
    #[tokio::test]
    async fn gzip_of_every_type_compresses_streams() {
        let (hub, _stack, proxy) = behind(Proxying::Nginx("gzip on; gzip_types *;"), NEVER).await;
        let client = proxy.client().with(ACCEPT_ENCODING, "gzip");
        let response = client.send(Method::GET, "/realtime/events?channels=news", "").await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let mut stream = e2e::Gunzip::new(response);
        stream.read_until("event: hello").await;
        hub.revalidate("posts.list");
        stream.read_until("event: revalidate").await;
    }

    #[tokio::test]
    async fn resumes_when_the_proxy_is_back() {
        super::resumes_when_the_proxy_is_back(LEAST).await;
    }

    #[tokio::test]
    async fn a_shutdown_ends_streams() {
        super::a_shutdown_ends_streams(LEAST).await;
    }

    /// While nothing is written, too.
    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_in_silence() {
        let (hub, _stack, proxy) = behind(LEAST, NEVER).await;
        let (stream, _) = proxy.client().follow("news").await;
        assert_eq!(hub.stats().sessions, 1);
        drop(stream);
        eventually("sessions", 0, async || hub.stats().sessions).await;
    }

    #[tokio::test]
    async fn heartbeats_keep_it_open() {
        super::heartbeats_keep_it_open(HASTY).await;
    }

    #[tokio::test]
    async fn a_silence_too_long_is_cut_and_resumed() {
        super::a_silence_too_long_is_cut_and_resumed(HASTY).await;
    }

    /// As it is, it hands on what the client says: every address may be forged.
    #[tokio::test]
    async fn as_it_is_addresses_are_the_clients_own() {
        let (_hub, _stack, proxy) = behind(LEAST, HEARTBEAT).await;
        let name = "x-forwarded-for";
        assert_eq!(seen(&proxy, &[], name).await.1, [""; 0]);
        assert_eq!(seen(&proxy, &["1.2.3.4"], name).await.1, ["1.2.3.4"]);
        assert_eq!(seen(&proxy, &["1.2.3.4", "5.6.7.8"], name).await.1, ["1.2.3.4", "5.6.7.8"]);
    }

    /// One line, whatever came, with the address it saw at its right end.
    #[tokio::test]
    async fn proxy_add_x_forwarded_for_appends_to_one_line() {
        let more = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
        let (hub, _stack, proxy) = behind(Proxying::Nginx(more), HEARTBEAT).await;
        let name = "x-forwarded-for";
        assert_eq!(seen(&proxy, &[], name).await.1, ["127.0.0.1"]);
        assert_eq!(seen(&proxy, &["1.2.3.4"], name).await.1, ["1.2.3.4, 127.0.0.1"]);
        assert_eq!(seen(&proxy, &["1.2.3.4", "5.6.7.8"], name).await.1, ["1.2.3.4, 5.6.7.8, 127.0.0.1"]);
        lets_through(&hub, &proxy.client()).await;
    }
}

mod haproxy {
    use super::*;

    const LEAST: Proxying<'_> = Proxying::Haproxy("");
    const HASTY: Proxying<'_> = Proxying::Haproxy("timeout client 3s\ntimeout server 3s");

    #[tokio::test]
    async fn lets_streams_through_as_it_is() {
        let (hub, _stack, proxy) = behind(LEAST, HEARTBEAT).await;
        lets_through(&hub, &proxy.client()).await;
        // Where nothing that follows pushes on what was held back.
        let (hub, _stack, proxy) = behind(LEAST, NEVER).await;
        let (mut stream, _) = proxy.client().follow("news").await;
        hub.revalidate("at.once");
        hears(&mut stream, "at.once").await;
        assert_eq!(seen(&proxy, &[], "connection").await, ("HTTP/1.1".to_owned(), vec![]));
    }

    #[tokio::test]
    async fn resumes_when_the_proxy_is_back() {
        super::resumes_when_the_proxy_is_back(LEAST).await;
    }

    #[tokio::test]
    async fn a_shutdown_ends_streams() {
        super::a_shutdown_ends_streams(LEAST).await;
    }

    /// As it is, it finds out when it next writes, which is at the next heartbeat. With this option, at once.
    #[tokio::test]
    async fn abortonclose_notices_in_silence_that_a_client_left() {
        let more = "option abortonclose\ntimeout client 1h\ntimeout server 1h";
        let (hub, _stack, proxy) = behind(Proxying::Haproxy(more), NEVER).await;
        lets_through(&hub, &proxy.client()).await;
    }

    #[tokio::test]
    async fn heartbeats_keep_it_open() {
        super::heartbeats_keep_it_open(HASTY).await;
    }

    #[tokio::test]
    async fn a_silence_too_long_is_cut_and_resumed() {
        super::a_silence_too_long_is_cut_and_resumed(HASTY).await;
    }

    /// A soft stop waits for the streams that are open, which go on.
    #[tokio::test]
    async fn a_soft_stop_waits_for_streams() {
        let (hub, _stack, proxy) = behind(LEAST, HEARTBEAT).await;
        let (mut stream, _) = proxy.client().follow("news").await;
        proxy.soft_stop().await;
        let port = proxy.port();
        let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        eventually("it listens", false, listens).await;
        hub.revalidate("still.here");
        hears(&mut stream, "still.here").await;
        hub.shutdown();
        assert!(stream.end().await.1);
        assert!(proxy.ended().await.success());
    }

    /// As it is, it hands on what the client says: every address may be forged.
    #[tokio::test]
    async fn as_it_is_addresses_are_the_clients_own() {
        let (_hub, _stack, proxy) = behind(LEAST, HEARTBEAT).await;
        let name = "x-forwarded-for";
        assert_eq!(seen(&proxy, &[], name).await.1, [""; 0]);
        assert_eq!(seen(&proxy, &["1.2.3.4"], name).await.1, ["1.2.3.4"]);
    }

    /// A line of its own, after those of the client: the last line counts, not the first.
    #[tokio::test]
    async fn option_forwardfor_adds_a_line() {
        let (hub, _stack, proxy) = behind(Proxying::Haproxy("option forwardfor"), HEARTBEAT).await;
        let name = "x-forwarded-for";
        assert_eq!(seen(&proxy, &[], name).await.1, ["127.0.0.1"]);
        assert_eq!(seen(&proxy, &["1.2.3.4"], name).await.1, ["1.2.3.4", "127.0.0.1"]);
        assert_eq!(
            seen(&proxy, &["1.2.3.4, 5.6.7.8", "9.9.9.9"], name).await.1,
            ["1.2.3.4, 5.6.7.8", "9.9.9.9", "127.0.0.1"]
        );
        lets_through(&hub, &proxy.client()).await;
    }
}
