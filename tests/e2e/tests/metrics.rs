//! The example `metrics`, as Prometheus sees it.
#![allow(clippy::panic)]

use std::collections::BTreeMap;

use e2e::{Client, Example, Server, eventually, soon};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body_util::BodyExt;

/// What `/metrics` says, by the series as it is written, without `tower_revalidate_`.
async fn scrape(client: &Client) -> BTreeMap<String, f64> {
    let response = client.send(Method::GET, "/metrics", "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let body = soon("the metrics", response.into_body().collect()).await.expect("it is whole").to_bytes();
    let text = String::from_utf8(body.to_vec()).expect("it is text");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let series = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let series = series.strip_prefix("tower_revalidate_").unwrap_or_else(|| panic!("{line:?}"));
        (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
    });
    series.collect()
}

/// Row D5: what Prometheus reads rises with what happens, and what is gone is 0 again.
#[tokio::test]
async fn prometheus_sees_sessions_come_and_go() {
    let server = Server::start(Example::Metrics).await;
    let client = Client::of(server.url());
    assert!(scrape(&client).await.is_empty(), "nothing happened yet");

    let (mut stream, _) = client.follow("announcements").await;
    let begun = scrape(&client).await;
    assert_eq!(begun["sessions"], 1.0);
    assert_eq!(begun["events_out_total{kind=\"hello\"}"], 1.0);
    assert_eq!(begun["events_out_total{kind=\"message\"}"], 0.0, "from 0, so that the first is a rise");
    let (other, hello) = client.follow("announcements,secret").await;
    assert_eq!(hello["denied"][0]["code"], "accessdenied");
    assert_eq!(scrape(&client).await["sessions"], 2.0);

    assert_eq!(client.send(Method::POST, "/posts", "").await.status(), StatusCode::CREATED);
    assert_eq!(stream.keys().await[0][0], "posts");
    assert_eq!(client.send(Method::POST, "/announce", "We are open").await.status(), StatusCode::CREATED);
    assert_eq!(stream.message().await, "We are open");
    let many = (0..300).map(|room| room.to_string()).collect::<Vec<_>>().join(",");
    let refused = client.send(Method::GET, &format!("/realtime/events?channels={many}"), "").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);

    // The other one is written to when its connection has its turn.
    let wrote = async || scrape(&client).await["events_out_total{kind=\"message\"}"];
    eventually("both heard it", 2.0, wrote).await;
    let told = scrape(&client).await;
    for (series, expected) in [
        ("events_in_total{kind=\"revalidate\"}", 1.0),
        ("events_in_total{kind=\"message\"}", 1.0),
        ("events_out_total{kind=\"hello\"}", 2.0),
        ("events_out_total{kind=\"revalidate\"}", 2.0),
        ("refusals_total{code=\"malformed\"}", 1.0),
        ("denied_channels_total{code=\"accessdenied\"}", 1.0),
        ("sessions_ended_total{reason=\"closed\"}", 0.0),
        ("gaps_total{reason=\"evicted\"}", 0.0),
        ("faults_total", 0.0),
    ] {
        assert_eq!(told[series], expected, "{series}");
    }
    assert!(told["written_bytes_total"] > begun["written_bytes_total"]);
    // A write may carry both events.
    let writes = told["write_latency_seconds_count"];
    assert!((2.0..=4.0).contains(&writes), "{writes}");
    assert_eq!(told["write_latency_seconds_bucket{le=\"+Inf\"}"], writes, "a histogram, not a summary");
    eventually("the places of both", 4.0, async || scrape(&client).await["subscriptions"]).await;

    drop((stream, other));
    eventually("both are gone", 0.0, async || scrape(&client).await["sessions"]).await;
    eventually("their places, too", 0.0, async || scrape(&client).await["subscriptions"]).await;
    let rest = scrape(&client).await;
    assert_eq!(rest["sessions_ended_total{reason=\"closed\"}"], 2.0);
    assert_eq!((rest["lag_events"], rest["outbox_waiting"]), (0.0, 0.0));
    assert!(rest["retained_bytes"] > 0.0, "for those that come back");
}
