//! `examples/fanout`, as what measures it uses it.

use e2e::{Client, Example, Server, Signal, soon};
use http::{Method, StatusCode};
use http_body_util::BodyExt;

const ALL: [Example; 3] = [Example::Fanout, Example::FanoutFlat, Example::FanoutAxum];

#[tokio::test]
async fn what_is_posted_arrives_byte_for_byte() {
    for example in ALL {
        for workers in ["1", "2"] {
            let server = Server::start_with(example, &[("WORKERS", workers)]).await;
            let client = Client::of(server.url());
            let response = client.send(Method::GET, "/realtime/events?channels=ch7", "").await;
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut body = response.into_body();

            let payload = r#"{ "text":"@1:2@ ü","n": [1.50, 1e3 ] }"#;
            let answer = client.send(Method::POST, "/publish/ch7", payload).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{example:?}");
            let mut text = String::new();
            while !text.contains("event: message\n") || !text.ends_with("\n\n") {
                let frame = soon("the event", body.frame()).await.expect("it goes on").expect("it is whole");
                text.push_str(
                    std::str::from_utf8(frame.data_ref().expect("no trailers")).expect("it is text"),
                );
            }
            let event = format!(
                "event: message\ndata: {{\"channel\":\"ch7\",\"event\":\"message\",\"data\":{payload}}}\n\n"
            );
            assert!(text.ends_with(&event), "{example:?}: {text}");

            for (path, refused) in [("/publish/ch7", "{\"half\":"), ("/publish/a::b", "1")] {
                let answer = client.send(Method::POST, path, refused).await;
                assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{example:?} {path}");
            }
            assert_eq!(client.send(Method::GET, "/", "").await.status(), StatusCode::NO_CONTENT);
            assert_eq!(client.send(Method::GET, "/nothing", "").await.status(), StatusCode::NOT_FOUND);
            assert!(server.end(Signal::Term).await.success(), "{example:?}");
            let rest = soon("the end", body.collect()).await.expect("it is whole").to_bytes();
            let rest = String::from_utf8_lossy(&rest);
            assert!(rest.ends_with("event: bye\ndata: {\"reason\":\"shutdown\"}\n\n"), "{example:?}: {rest}");
        }
    }
}

#[tokio::test]
async fn what_it_is_told_wrong_it_says() {
    for (workers, said) in [("none", "WORKERS is no number"), ("0", "somebody has to work")] {
        let (status, text) = Server::refused(Example::Fanout, &[("WORKERS", workers)]).await;
        assert!(!status.success() && text.contains(said), "{text}");
    }
}
