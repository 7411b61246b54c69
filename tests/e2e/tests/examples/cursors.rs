//! Coming back: what was missed is heard, or told as a gap.

use e2e::{Client, Event, Link, Server, Stream};
use http::Method;
use serde_json::{Value, json};

async fn announce(client: &Client, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        client.post("/announce", &json!({"text": number.to_string()})).await;
    }
}

/// The number of an announcement.
fn number(event: &Event) -> u64 {
    let text = event.data["data"]["text"].as_str().expect("an announcement");
    text.parse().expect("they are numbered")
}

/// The numbers of the announcements up to this one.
async fn numbers(stream: &mut Stream, last: u64) -> Vec<u64> {
    let mut heard = Vec::new();
    while heard.last() != Some(&last) {
        heard.push(number(&stream.next().await.expect("the stream goes on")));
    }
    heard
}

pub(crate) async fn a_client_cut_in_a_burst_misses_nothing(server: Server, near: Client) {
    const LAST: u64 = 60;
    let link = Link::to(server.port()).await;
    let (mut stream, hello) = near.through(link.url()).follow("announcements").await;
    assert_eq!(hello["resumed"], false);

    let burst = tokio::spawn({
        let near = near.clone();
        async move { announce(&near, 1..=LAST).await }
    });
    let mut heard = numbers(&mut stream, 20).await;
    link.cut();
    while let Some(event) = stream.next().await {
        heard.push(number(&event));
    }
    burst.await.expect("every announcement is taken");

    link.mend();
    let far = near.through(link.url()).with("last-event-id", stream.last_event_id());
    let (mut stream, hello) = far.follow("announcements").await;
    assert_eq!(hello["resumed"], true, "{hello}");
    if heard.last() != Some(&LAST) {
        heard.extend(numbers(&mut stream, LAST).await);
    }
    assert_eq!(heard, (1..=LAST).collect::<Vec<_>>());

    // And nothing once more.
    announce(&near, LAST + 1..=LAST + 1).await;
    assert_eq!(numbers(&mut stream, LAST + 1).await, [LAST + 1]);
}

pub(crate) async fn a_cursor_in_the_query_resumes_and_the_header_wins(_server: Server, nobody: Client) {
    let (mut stream, _) = nobody.follow("announcements").await;
    let fresh = stream.last_event_id().to_owned();
    announce(&nobody, 1..=1).await;
    assert_eq!(numbers(&mut stream, 1).await, [1]);
    let after_one = stream.last_event_id().to_owned();
    drop(stream);
    announce(&nobody, 2..=3).await;

    for name in ["lastEventId", "last_event_id"] {
        let (mut stream, hello) = nobody.open(&format!("channels=announcements&{name}={after_one}")).await;
        assert_eq!(hello["resumed"], true, "{name}");
        assert_eq!(numbers(&mut stream, 3).await, [2, 3], "{name}");
    }
    let both = nobody.with("last-event-id", &fresh);
    let (mut stream, hello) = both.open(&format!("channels=announcements&lastEventId={after_one}")).await;
    assert_eq!(hello["resumed"], true);
    assert_eq!(numbers(&mut stream, 3).await, [1, 2, 3]);
}

pub(crate) async fn what_went_stale_meanwhile_is_heard(_server: Server, nobody: Client) {
    let alice = nobody.signed_in("alice");
    let (mut stream, _) = alice.open("").await;
    let before = stream.last_event_id().to_owned();
    alice.post("/posts", &json!({"title": "while it is open"})).await;
    assert_eq!(stream.keys().await, json!([["posts", "list"]]));
    let after = stream.last_event_id().to_owned();
    drop(stream);
    alice.json(Method::PATCH, "/profile", r#"{"name":"Al"}"#).await;

    let both = json!([["posts", "list"], ["users", "me"]]);
    for (cursor, missed) in [(&before, both), (&after, json!([["users", "me"]]))] {
        let (mut stream, hello) = alice.with("last-event-id", cursor).open("").await;
        assert_eq!(hello["resumed"], true, "{cursor}");
        let mut keys = stream.keys().await;
        keys.as_array_mut().expect("keys are a list").sort_by_key(Value::to_string);
        assert_eq!(keys, missed);
    }

    // Others hear the same, without what is hers.
    let (mut stream, hello) = nobody.with("last-event-id", &before).open("").await;
    assert_eq!(hello["resumed"], true);
    assert_eq!(stream.keys().await, json!([["posts", "list"]]));
}

pub(crate) async fn a_strange_cursor_is_a_gap_and_no_refusal(_server: Server, nobody: Client) {
    let (stream, _) = nobody.follow("announcements").await;
    let (epoch, _) = stream.last_event_id().split_once('-').expect("a cursor has two parts");
    let ahead = format!("{epoch}-ffff");
    for (cursor, reason) in [
        (&*ahead, "ahead"),
        ("otherepoch-1", "unknown"),
        ("garbage", "unknown"),
        ("-1", "unknown"),
        (&*format!("{epoch}-{}", "f".repeat(17)), "unknown"),
        (&*format!("{epoch}--1"), "unknown"),
    ] {
        let header = nobody.with("last-event-id", cursor).follow("announcements").await;
        let query = nobody.open(&format!("channels=announcements&lastEventId={cursor}")).await;
        for (mut stream, hello) in [header, query] {
            assert_eq!(hello["resumed"], false, "{cursor}");
            assert!(hello["spreadMs"].is_u64(), "{hello}");
            let gap = stream.next().await.expect("the stream goes on");
            assert_eq!((&*gap.name, &gap.data["reason"]), ("gap", &json!(reason)), "{cursor}");
            assert_eq!(gap.data.get("channels"), None, "it is about everything");

            // From there on it is a stream like every other.
            let cursor = stream.last_event_id().to_owned();
            announce(&nobody, 1..=1).await;
            assert_eq!(numbers(&mut stream, 1).await, [1]);
            let (mut stream, hello) = nobody.with("last-event-id", &cursor).follow("announcements").await;
            assert_eq!(hello["resumed"], true, "{cursor}");
            assert_eq!(numbers(&mut stream, 1).await, [1]);
        }
    }
}

pub(crate) async fn what_a_channel_forgot_is_a_gap_that_names_it(_server: Server, nobody: Client) {
    const LAST: u64 = 300;
    let alice = nobody.signed_in("alice");
    let (stream, _) = alice.follow("announcements,room:1").await;
    let cursor = stream.last_event_id().to_owned();
    drop(stream);
    alice.post("/posts", &json!({"title": "meanwhile"})).await;
    announce(&nobody, 1..=LAST).await;
    alice.post("/rooms/1/messages", &json!({"text": "still here"})).await;

    let (mut stream, hello) = alice.with("last-event-id", &cursor).follow("announcements,room:1").await;
    assert_eq!(hello["resumed"], true, "{hello}");
    let mut before = vec![stream.next().await.expect("the stream goes on")];
    before.push(stream.next().await.expect("the stream goes on"));
    let gap = before.iter().find(|event| event.name == "gap").expect("a gap before what follows it");
    assert_eq!(gap.data["reason"], "evicted");
    assert_eq!(gap.data["channels"], json!(["announcements"]), "the room forgot nothing");
    let stale = before.iter().find(|event| event.name == "revalidate").expect("keys come first");
    assert_eq!(stale.data["keys"], json!([["posts", "list"]]));

    let kept = numbers(&mut stream, LAST).await;
    assert!(kept.len() < 300, "the example keeps fewer than were announced");
    assert_eq!(kept, (LAST + 1 - kept.len() as u64..=LAST).collect::<Vec<_>>(), "the rest is whole");
    assert_eq!(stream.message().await["text"], "still here");
}

pub(crate) async fn a_change_between_the_page_and_its_stream_is_heard(_server: Server, nobody: Client) {
    let page = nobody.send(Method::GET, "/posts", "").await;
    let cursor = page.headers()["x-revalidate-cursor"].to_str().expect("a cursor is text").to_owned();
    nobody.post("/posts", &json!({"title": "in between"})).await;

    let (mut stream, hello) = nobody.open(&format!("lastEventId={cursor}")).await;
    assert_eq!(hello["resumed"], true);
    assert_eq!(stream.keys().await, json!([["posts", "list"]]));
}
