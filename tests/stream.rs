//! A stream over its life: `hello`, heartbeats, coming back, gaps, and each of its ends. On the paused clock.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Stream, Visit, at, eventually, random};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};
use tower_revalidate::{
    ByeReason, Channel, Cursor, Disconnect, Grant, Hub, Policy, QueryKey, Receipt, Revalidate,
};

async fn say(hub: &Hub, channel: &str, data: impl serde::Serialize) -> Cursor {
    hub.channel(Channel::parse(channel).unwrap()).publish("x", &data).await.unwrap()
}

fn payloads(frames: &[common::Frame]) -> Vec<Value> {
    frames.iter().filter(|frame| frame.name == "message").map(common::Frame::payload).collect()
}

#[tokio::test(start_paused = true)]
async fn hello_comes_at_once_and_says_where_the_stream_stands() {
    let hub = Hub::new();
    say(&hub, "room:42", 1).await;
    let began = Instant::now();
    let response = Visit::user("alice").following("room:42,x").answer(&hub).await;
    let mut stream = Stream::new(response.into_body(), None);
    let first = stream.chunk().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let text = std::str::from_utf8(&first).unwrap();
    assert!(text.starts_with("retry: "), "{text}");
    stream.greet().await;
    let hello = stream.hello.json();
    assert_eq!(
        hello,
        json!({
            "session": hello["session"], "resumed": false, "live": true, "heartbeatMs": 15000, "spreadMs": 0,
            "channels": ["room:42"], "denied": [{"channel": "x", "code": "accessdenied"}],
        })
    );
    assert_eq!(stream.hello.cursor(), hub.cursor());
    assert_eq!(stream.ready().await, [], "a fresh session gets nothing of a history");
}

/// Invariants 5 and 6: what sessions read at one place is one write, and the same bytes for all of them.
#[tokio::test(start_paused = true)]
async fn many_events_are_one_write_whose_bytes_are_shared() {
    let hub = Hub::new();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Visit::user("alice").following("room:42").open(&hub).await);
    }
    for events in [1, 2, 40] {
        for event in 0..events {
            say(&hub, "room:42", event).await;
        }
        let mut writes = Vec::new();
        for stream in &mut streams {
            writes.push(stream.chunk().await.unwrap());
        }
        let text = std::str::from_utf8(&writes[0]).unwrap();
        assert_eq!(text.matches("event: message\n").count(), events);
        for write in &writes {
            assert_eq!((write.as_ptr(), write.len()), (writes[0].as_ptr(), writes[0].len()));
        }
    }
}

/// Row A10.
#[tokio::test(start_paused = true)]
async fn how_often_to_try_is_told_only_if_it_is_set() {
    let hello = Visit::stranger().open(&Hub::new()).await.hello.json();
    assert!(hello.get("maxAttempts").is_none(), "a client never gives up unless told");
    let hub = Hub::builder().max_attempts(5).heartbeat(Duration::from_secs(20)).build().unwrap();
    let hello = Visit::stranger().open(&hub).await.hello.json();
    assert_eq!((&hello["maxAttempts"], &hello["heartbeatMs"]), (&json!(5), &json!(20_000)));
}

/// Row A11: bytes on time, whatever else happens.
#[tokio::test(start_paused = true)]
async fn a_silent_stream_has_a_heartbeat_in_time() {
    let hub = Hub::new();
    let mut stream = Visit::user("alice").open(&hub).await;
    let mut waits = BTreeSet::new();
    for beat in 0..20 {
        if beat % 2 == 0 {
            // Of no concern to this session, and yet its cursor moves with it.
            hub.revalidate(Revalidate::key("x").to("role:other")).await.unwrap();
        }
        let since = Instant::now();
        let frame = stream.frame().await.unwrap();
        let waited = since.elapsed();
        // Sooner by up to two fifths: its jitter, and how often the ticker looks.
        assert!(waited >= Duration::from_secs(9) && waited <= Duration::from_secs(15), "{waited:?}");
        let cursor = hub.cursor().to_string();
        assert_eq!((frame.name.as_str(), &frame.data), ("", &None), "no event fires");
        assert_eq!(frame.id.as_deref(), Some(&*cursor));
        assert_eq!(frame.comments, [cursor], "parsers that report ids only with data read the comment");
        waits.insert(waited);
    }
    assert!(waits.len() > 1, "heartbeats have jitter: {waits:?}");
}

/// Row A11: the same after a write, wherever between two looks of the ticker that was.
#[tokio::test(start_paused = true)]
async fn a_stream_that_wrote_has_its_next_heartbeat_in_time() {
    let hub = Hub::new();
    let mut stream = Visit::user("alice").following("room:42").open(&hub).await;
    for pause in 0..40 {
        sleep(Duration::from_millis(pause * 97)).await;
        say(&hub, "room:42", 1).await;
        assert_eq!(stream.frame().await.unwrap().name, "message");
        let since = Instant::now();
        assert!(!stream.frame().await.unwrap().comments.is_empty());
        let waited = since.elapsed();
        assert!(waited >= Duration::from_secs(9) && waited <= Duration::from_secs(15), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_at_most_as_late_as_the_option_says() {
    let hub = Hub::builder().heartbeat(Duration::from_secs(2)).build().unwrap();
    let mut stream = Visit::user("alice").open(&hub).await;
    for _ in 0..10 {
        let since = Instant::now();
        stream.frame().await.unwrap();
        assert!(since.elapsed() <= Duration::from_secs(2), "{:?}", since.elapsed());
    }
}

/// Defect 20: not in step.
#[tokio::test(start_paused = true)]
async fn every_session_has_a_retry_of_its_own() {
    let hub = Hub::new();
    let mut retries = BTreeSet::new();
    for _ in 0..200 {
        retries.insert(Visit::stranger().open(&hub).await.hello.retry.unwrap());
    }
    assert!(retries.len() > 150, "{retries:?}");
    assert!(*retries.first().unwrap() < 1500 && *retries.last().unwrap() > 3500, "uniform in 1–4 s");
}

/// Row A7 and defect 8: cut anywhere, it comes back with the id it saw, and gets each event once.
#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_each_event_exactly_once() {
    let mut random = random();
    for _ in 0..200 {
        let hub = Hub::builder().write_bytes(random.usize(1..2000)).build().unwrap();
        let channels = "room:1,room:2,room:3";
        let mut sent: Vec<u32> = Vec::new();
        let mut heard: Vec<u64> = Vec::new();
        let mut cursor = Visit::user("alice").following(channels).open(&hub).await.parser.last_event_id;
        while sent.len() < 60 {
            let mut stream = Visit::user("alice").following(channels).from(&cursor).open(&hub).await;
            assert!(stream.resumed());
            for _ in 0..random.u32(0..20) {
                let number = sent.len() as u32;
                say(&hub, ["room:1", "room:2", "room:3"][random.usize(..3)], number).await;
                sent.push(number);
            }
            // The connection is cut after some bytes: blocks that are not whole never happened.
            let mut parser = common::sse::Parser::new(Some(&cursor));
            drop(stream.ready().await);
            let raw = std::mem::take(&mut stream.parser.raw);
            parser.feed(&raw[..random.usize(..=raw.len())]);
            while let Some(frame) = parser.frame() {
                if frame.name == "message" {
                    heard.push(frame.payload().as_u64().unwrap());
                }
            }
            cursor = parser.last_event_id;
        }
        let mut stream = Visit::user("alice").following(channels).from(&cursor).open(&hub).await;
        heard.extend(payloads(&stream.ready().await).iter().map(|payload| payload.as_u64().unwrap()));
        assert!(heard.iter().copied().eq(0..sent.len() as u64), "{heard:?}");
    }
}

/// The header that a browser sends, the query where it cannot, and the header first.
#[tokio::test(start_paused = true)]
async fn a_cursor_comes_in_the_header_or_in_the_query() {
    let hub = Hub::new();
    let start = hub.cursor();
    let later = say(&hub, "room:1", 1).await;
    let visit = || Visit::user("alice").following("room:1");
    for (visit, resumed, missed) in [
        (visit().from(start), true, 1),
        (visit().query(&format!("last_event_id={start}")), true, 1),
        (visit().query(&format!("lastEventId={start}")), true, 1),
        (visit().from(later).query(&format!("lastEventId={start}")), true, 0),
        (visit().query("lastEventId="), false, 0),
        (visit().from(""), false, 0),
        (visit().from("").query(&format!("lastEventId={start}")), true, 1),
        (visit(), false, 0),
    ] {
        let mut stream = visit.open(&hub).await;
        assert_eq!(stream.resumed(), resumed);
        assert_eq!(payloads(&stream.ready().await).len(), missed);
    }
}

/// PROTOCOL R4.
#[tokio::test(start_paused = true)]
async fn a_strange_cursor_is_a_gap_for_that_session_alone() {
    let hub = Hub::new();
    say(&hub, "room:1", "before").await;
    let mut other = Visit::user("bob").following("room:1").open(&hub).await;
    let tip = hub.cursor();
    let ahead = at(tip, u64::MAX).to_string();
    let next = at(tip, tip.offset + 1).to_string();
    for (cursor, reason) in [
        (next.as_str(), "ahead"),
        (&ahead, "ahead"),
        ("0000000000-1", "unknown"),
        ("x", "unknown"),
        ("-", "unknown"),
        ("a-1-1", "unknown"),
        ("../../etc/passwd", "unknown"),
        ("caf\u{e9}", "unknown"),
    ] {
        let mut stream = Visit::user("alice").following("room:1").from(cursor).open(&hub).await;
        assert!(!stream.resumed(), "{cursor}");
        assert_eq!(stream.hello.id, None, "{cursor}");
        let gap = stream.next().await;
        assert_eq!(gap.json(), json!({"reason": reason, "spreadMs": 0}), "{cursor}");
        assert_eq!(gap.cursor(), hub.cursor(), "the new place stands in the frame of the gap");
        let number = say(&hub, "room:1", cursor).await.offset;
        assert_eq!(stream.next().await.payload(), cursor, "and from there it goes on");
        assert_eq!(stream.cursor().offset, number);
        assert_eq!(other.next().await.payload(), cursor, "nobody else noticed");
    }
    assert_eq!(hub.cursor().epoch, tip.epoch, "what a client sends never changes the epoch");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_below_what_is_kept_is_a_gap_that_names_the_channel() {
    let hub = Hub::builder().channel("room:1", Policy::history(4)).build().unwrap();
    let start = hub.cursor();
    for number in 0..10 {
        say(&hub, "room:1", number).await;
        say(&hub, "room:2", number).await;
    }
    let mut stream = Visit::user("alice").following("room:1,room:2").from(start).open(&hub).await;
    assert!(stream.resumed(), "a hole in one channel does not undo the rest");
    let frames = stream
        .until(|frame| frame.name == "message" && frame.payload() == 9 && frame.json()["channel"] == "room:2")
        .await;
    let gaps: Vec<_> = frames.iter().filter(|frame| frame.name == "gap").collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].json(), json!({"reason": "evicted", "channels": ["room:1"], "spreadMs": 0}));
    let of = |channel: &str| -> Vec<_> {
        let frames = frames.iter().filter(|frame| frame.json()["channel"] == channel);
        frames.map(|frame| frame.payload().as_u64().unwrap()).collect()
    };
    assert_eq!(of("room:1"), [6, 7, 8, 9], "what is kept still comes");
    assert_eq!(of("room:2"), (0..10).collect::<Vec<_>>());
    assert_eq!(frames[0].name, "gap", "the gap is before what it covers");
}

/// PROTOCOL R3: a topic that is gone must not read as one on which nothing happened.
#[tokio::test(start_paused = true)]
async fn what_was_forgotten_whole_is_a_gap_too() {
    let hub = Hub::builder().retain_for(Duration::from_secs(60)).build().unwrap();
    let start = hub.cursor();
    say(&hub, "room:1", 1).await;
    hub.revalidate(Revalidate::key("posts").to("user:alice")).await.unwrap();
    sleep(Duration::from_secs(61)).await;
    say(&hub, "room:2", 2).await;
    assert_eq!(hub.stats().topics, 2, "everyone and room 2: the rest is forgotten");
    let mut stream = Visit::user("alice").following("room:1,room:2").from(start).open(&hub).await;
    let gap = stream.next().await;
    assert_eq!(gap.name, "gap");
    let mut bob = Visit::user("bob").following("room:1").from(start).open(&hub).await;
    let gap = bob.next().await;
    assert_eq!(gap.json()["channels"], json!(["room:1"]));
}

/// Invariant 3, and a slow client is a returning one: it hears the union of all that it missed.
#[tokio::test(start_paused = true)]
async fn a_slow_client_never_loses_a_revalidation() {
    let hub = Hub::new();
    let mut slow = Visit::of(Grant::user("alice").scope("role:admin")).open(&hub).await;
    let cursor = slow.cursor();
    let key = |id: u32| QueryKey::new(("posts", id % 7, id)).unwrap();
    for id in 0..5000 {
        let said = Revalidate::key(key(id));
        let said = match id % 3 {
            0 => said,
            1 => said.to("role:admin"),
            _ => said.to(("user", "alice")),
        };
        drop(hub.revalidate(said));
    }
    let mut late = Visit::of(Grant::user("alice").scope("role:admin")).from(cursor).open(&hub).await;
    for stream in [&mut slow, &mut late] {
        let heard = stream.next().await;
        let told: Vec<QueryKey> = serde_json::from_value(heard.json()["keys"].clone()).unwrap();
        assert!(told.len() <= 1024, "{}", told.len());
        for id in 0..5000 {
            assert!(told.iter().any(|told| told.covers(&key(id))), "{id} from {told:?}");
        }
        assert_eq!(heard.cursor(), hub.cursor());
        assert!(stream.ready().await.is_empty(), "one event for all of it");
    }
}

/// PROTOCOL R1: an id stands only behind everything that it acknowledges.
#[tokio::test(start_paused = true)]
async fn keys_come_before_the_messages_behind_them_and_without_an_id() {
    let hub = Hub::builder().write_bytes(4096).build().unwrap();
    let mut stream = Visit::user("alice").following("room:1,room:2").open(&hub).await;
    for number in 0..40 {
        say(&hub, ["room:1", "room:2"][number % 2], format!("{number:01000}")).await;
    }
    hub.revalidate("posts").await.unwrap();
    let cut = stream.chunk().await.unwrap();
    assert!(cut.len() < 6000, "one write is bounded: {}", cut.len());
    let first = stream.parsed();
    assert_eq!((first[0].name.as_str(), &first[0].id), ("revalidate", &None));
    let came = payloads(&first).len();
    assert!(came > 0);
    // Cut here, it comes back: the keys come again, and no message twice.
    let mut again = Visit::user("alice").following("room:1,room:2").from(stream.cursor()).open(&hub).await;
    assert_eq!(again.next().await.keys(), [r#"["posts"]"#]);
    let rest = again.ready().await;
    let numbers: Vec<usize> =
        payloads(&rest).iter().map(|payload| payload.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (came..40).collect::<Vec<_>>(), "in the order of both channels");
    assert_eq!(again.cursor(), hub.cursor());
}

/// PROTOCOL R5: one gap is enough.
#[tokio::test(start_paused = true)]
async fn a_flood_is_one_gap_in_ten_seconds() {
    let hub = Hub::builder().channel("room:*", Policy::history(4)).build().unwrap();
    let mut stream = Visit::user("alice").following("room:1").open(&hub).await;
    let began = Instant::now();
    let mut gaps = Vec::new();
    let mut last = 0;
    while began.elapsed() < Duration::from_secs(65) {
        for _ in 0..10 {
            last += 1;
            say(&hub, "room:1", last).await;
        }
        gaps.extend(stream.ready().await.iter().filter(|frame| frame.name == "gap").map(|_| began.elapsed()));
        advance(Duration::from_millis(500)).await;
    }
    assert!((6..=7).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(10)), "{gaps:?}");
    // Then it catches up: the gap that was held back comes, and the newest messages behind it.
    let rest = stream.until(|frame| frame.name == "message" && frame.payload() == last).await;
    assert!(rest.iter().any(|frame| frame.name == "gap"));
}

/// Row E12, and the policies of channels.
#[tokio::test(start_paused = true)]
async fn a_latest_channel_gives_its_current_value_and_never_an_old_one() {
    let hub = Hub::builder().channel("dashboard", Policy::latest().public()).build().unwrap();
    let visit = Visit::stranger().following("dashboard");
    let mut early = visit.open(&hub).await;
    assert_eq!(early.ready().await, [], "there is no value yet");
    for number in 1..=10 {
        say(&hub, "dashboard", number).await;
    }
    assert_eq!(payloads(&early.ready().await), [10], "values that were superseded are not sent");
    let mut fresh = visit.open(&hub).await;
    let current = fresh.next().await;
    assert_eq!(
        (current.payload(), &current.id),
        (json!(10), &None),
        "what was before the stream has no id in it"
    );
    assert_eq!(fresh.ready().await, []);
    say(&hub, "dashboard", 11).await;
    let next = fresh.next().await;
    assert_eq!((next.payload(), next.cursor()), (json!(11), hub.cursor()));
    // Who comes back behind a superseded value missed nothing.
    say(&hub, "dashboard", 12).await;
    let mut back = Visit::stranger().following("dashboard").from(early.cursor()).open(&hub).await;
    let heard = back.ready().await;
    assert_eq!(payloads(&heard), [12]);
    assert!(heard.iter().all(|frame| frame.name != "gap"));
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_channel_is_heard_now_or_never() {
    let hub = Hub::builder().channel("room:*:typing", Policy::ephemeral().public()).build().unwrap();
    let visit = Visit::stranger().following("room:1:typing");
    let start = hub.cursor();
    let mut here = visit.open(&hub).await;
    say(&hub, "room:1:typing", "a").await;
    let heard = here.next().await;
    assert_eq!((heard.payload(), &heard.id), (json!("a"), &None));
    for visit in [visit.clone(), visit.clone().from(start)] {
        let mut later = visit.open(&hub).await;
        assert_eq!(later.ready().await.iter().filter(|frame| !frame.name.is_empty()).count(), 0);
        say(&hub, "room:1:typing", "b").await;
        assert_eq!(later.next().await.payload(), "b");
    }
    let mut slow = visit.open(&hub).await;
    for number in 0..1000 {
        say(&hub, "room:1:typing", number).await;
    }
    assert_eq!(payloads(&slow.ready().await), (968..1000).collect::<Vec<_>>(), "the newest 32, and no gap");
    assert!(String::from_utf8_lossy(&slow.parser.raw).find("event: gap").is_none());
}

/// A history is for those who return, and `latest` is not one.
#[tokio::test(start_paused = true)]
async fn a_fresh_session_gets_nothing_of_a_history() {
    let hub = Hub::new();
    say(&hub, "room:1", "old").await;
    let mut stream = Visit::user("alice").following("room:1").open(&hub).await;
    say(&hub, "room:1", "new").await;
    assert_eq!(stream.next().await.payload(), "new");
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_policy_wins() {
    let hub = Hub::builder()
        .channel("**", Policy::history(1))
        .channel("room:**", Policy::ephemeral())
        .channel("room:*", Policy::history(2).public())
        .channel("room:7", Policy::latest().public())
        .build()
        .unwrap();
    let asked = "room:7,room:8,room:8:typing,other";
    let stream = Visit::stranger().following(asked).open(&hub).await;
    assert_eq!(stream.hello.json()["channels"], json!(["room:7", "room:8"]));
    for number in 0..3 {
        for channel in asked.split(',') {
            say(&hub, channel, number).await;
        }
    }
    let visit = Visit::of(Grant::user(1).follow("**")).following(asked);
    let mut back = visit.from(stream.cursor()).open(&hub).await;
    let came: Vec<_> = back
        .ready()
        .await
        .iter()
        .filter(|frame| frame.name == "message")
        .map(|frame| frame.json()["channel"].clone())
        .collect();
    assert_eq!(came, ["room:8", "room:7", "room:8", "other"]);
}

/// Defect 13.
#[tokio::test(start_paused = true)]
async fn a_falsy_payload_arrives_as_it_is() {
    let hub = Hub::new();
    let mut stream = Visit::user("alice").following("room:1").open(&hub).await;
    for payload in [json!(0), json!(false), json!(""), json!(null), json!([]), json!({}), json!(-0.0)] {
        say(&hub, "room:1", &payload).await;
        let heard = stream.next().await;
        assert_eq!(heard.json(), json!({"channel": "room:1", "event": "x", "data": payload}));
    }
    say(&hub, "room:1", ()).await;
    assert_eq!(stream.next().await.payload(), Value::Null);
    say(&hub, "room:1", None::<u8>).await;
    assert_eq!(stream.next().await.payload(), Value::Null);
}

/// Defect 14, rows A1 and A3: one stream, whatever it follows; each event once, to those who follow.
#[tokio::test(start_paused = true)]
async fn everyone_who_follows_hears_once_and_nobody_else() {
    let hub = Hub::new();
    let many = (0..100).map(|id| format!("room:{id}")).collect::<Vec<_>>().join(",");
    let mut followers = Vec::new();
    for id in 0..50 {
        followers.push(Visit::user(&id.to_string()).following(&many).open(&hub).await);
    }
    let mut other = Visit::user("other").following("room:100").open(&hub).await;
    hub.revalidate("everyone").await.unwrap();
    say(&hub, "room:7", "hello").await;
    for follower in &mut followers {
        assert_eq!(follower.next().await.keys(), [r#"["everyone"]"#]);
        assert_eq!(follower.next().await.payload(), "hello");
        assert_eq!(follower.ready().await, []);
    }
    assert_eq!(other.next().await.keys(), [r#"["everyone"]"#]);
    assert!(other.ready().await.iter().all(|frame| frame.name.is_empty()));
}

/// Row A1, PROTOCOL R12: the new stream is made before the old one breaks, and equal ids tell doubles.
#[tokio::test(start_paused = true)]
async fn a_switch_of_channels_loses_nothing() {
    let hub = Hub::new();
    let mut old = Visit::user("alice").following("room:1,room:2").open(&hub).await;
    say(&hub, "room:1", 1).await;
    let mut heard = vec![old.next().await];
    let cursor = old.cursor();
    say(&hub, "room:2", 2).await;
    say(&hub, "room:3", 3).await;
    heard.push(old.next().await);
    let mut new = Visit::user("alice").following("room:2,room:3").from(cursor).open(&hub).await;
    assert!(new.resumed());
    say(&hub, "room:2", 4).await;
    drop(old);
    let seen: BTreeSet<_> = heard.iter().filter_map(|frame| frame.id.clone()).collect();
    let (doubles, rest): (Vec<_>, Vec<_>) = new
        .ready()
        .await
        .into_iter()
        .partition(|frame| frame.id.as_ref().is_some_and(|id| seen.contains(id)));
    assert_eq!(payloads(&doubles), [2], "it came on the old stream, with the same id");
    assert_eq!(payloads(&rest), [3, 4]);
    assert_eq!(hub.stats().sessions, 1);
}

/// PROTOCOL: what concerns more than 100 sessions is spread.
#[tokio::test(start_paused = true)]
async fn a_herd_is_spread_and_a_few_are_not() {
    let hub = Hub::builder().refetches_per_s(100).build().unwrap();
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(Visit::user("alice").open(&hub).await);
    }
    hub.revalidate("posts").await.unwrap();
    assert_eq!(sessions[0].next().await.json()["spreadMs"], 0);
    for _ in 0..150 {
        sessions.push(Visit::user("bob").open(&hub).await);
    }
    hub.revalidate("posts").await.unwrap();
    assert_eq!(sessions[0].next().await.json()["spreadMs"], 2500, "250 sessions, 100 refetches a second");
    hub.revalidate(Revalidate::key("me").to("user:alice")).await.unwrap();
    assert_eq!(sessions[0].next().await.json()["spreadMs"], 0, "100 of them concern nobody else");
    let mut strange = Visit::stranger().from("x-1").open(&hub).await;
    assert_eq!(strange.hello.json()["spreadMs"], 2510, "whoever could not resume is one of many");
    assert_eq!(strange.next().await.json()["spreadMs"], 2510);
    let fresh = Visit::stranger().open(&hub).await;
    assert_eq!(fresh.hello.json()["spreadMs"], 0, "a fresh one is a person who waits for a page");
}

/// Invariant 10.
#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_every_stream_each_with_a_retry_of_its_own() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let hub = Hub::builder()
        .on_disconnect(move |_, why| {
            counted.fetch_add((why == Disconnect::Bye(ByeReason::Shutdown)).into(), Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let mut streams = Vec::new();
    for _ in 0..1000 {
        streams.push(Visit::stranger().open(&hub).await);
    }
    hub.shutdown();
    assert_eq!((hub.stats().sessions, hub.stats().subscriptions), (0, 0));
    assert_eq!(ended.load(Ordering::SeqCst), 1000);
    let mut retries = Vec::new();
    for stream in &mut streams {
        let last = stream.rest().await;
        let [bye] = &last[..] else { panic!("{last:?}") };
        assert_eq!((bye.name.as_str(), bye.json()), ("bye", json!({"reason": "shutdown"})));
        retries.push(bye.retry.unwrap());
    }
    let distinct: BTreeSet<_> = retries.iter().collect();
    assert!(distinct.len() > 500, "they do not come back in step: {}", distinct.len());
    assert!(
        retries.iter().all(|retry| (1000..=2000).contains(retry)),
        "1 s and the spread of 1 000 sessions"
    );
    hub.revalidate("still").await.unwrap();
    hub.shutdown();
    drop(streams);
    assert_eq!(ended.load(Ordering::SeqCst), 1000, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_grant_ends_its_stream_when_it_expires_and_coming_back_is_no_gap() {
    let hub = Hub::new();
    let began = Instant::now();
    let mut stream = Visit::of(Grant::user("alice").follow("room:*").expires_in(Duration::from_secs(60)))
        .following("room:1")
        .open(&hub)
        .await;
    let last = stream.rest().await;
    assert_eq!(last.last().unwrap().json(), json!({"reason": "expired"}));
    let lived = began.elapsed();
    assert!(lived >= Duration::from_secs(60) && lived < Duration::from_secs(66), "{lived:?}");
    assert_eq!(hub.stats().sessions, 0);
    say(&hub, "room:1", 1).await;
    let mut back = Visit::user("alice").following("room:1").from(stream.cursor()).open(&hub).await;
    assert!(back.resumed());
    assert_eq!(back.next().await.payload(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_does_not_say_lives_a_quarter_of_an_hour_less_its_jitter() {
    let hub = Hub::new();
    let began = Instant::now();
    let mut lives = BTreeSet::new();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Visit::user("alice").open(&hub).await;
        streams.push(tokio::spawn(async move {
            let last = stream.rest().await.pop().unwrap();
            assert_eq!(last.json(), json!({"reason": "expired"}));
            Instant::now()
        }));
    }
    for stream in streams {
        let lived = stream.await.unwrap() - began;
        assert!(
            lived >= Duration::from_secs(12 * 60) && lived <= Duration::from_secs(15 * 60 + 5),
            "{lived:?}"
        );
        lives.insert(lived.as_secs());
    }
    assert!(lives.len() > 5, "not all at once: {lives:?}");
}

/// PROTOCOL R10.
#[tokio::test(start_paused = true)]
async fn a_change_of_grant_ends_that_users_streams_and_replays_nothing_from_before() {
    let changes: [fn(&Hub) -> Receipt; 2] = [|hub| hub.regrant("alice"), |hub| hub.disconnect_user("alice")];
    for change in changes {
        let hub = Hub::new();
        let visit = |user: &str| Visit::user(user).following("room:1");
        let mut tabs = [visit("alice").open(&hub).await, visit("alice").open(&hub).await];
        let mut bob = visit("bob").open(&hub).await;
        let mut stranger = Visit::stranger().open(&hub).await;
        let before = hub.cursor();
        say(&hub, "room:1", "secret").await;
        change(&hub).await.unwrap();
        for tab in &mut tabs {
            let last = tab.rest().await.pop().unwrap();
            assert_eq!((last.name.as_str(), last.json()), ("bye", json!({"reason": "grant"})));
        }
        assert_eq!(hub.stats().sessions, 2);
        say(&hub, "room:1", "after").await;
        let mut back = visit("alice").from(before).open(&hub).await;
        assert!(!back.resumed());
        let gap = back.next().await;
        assert_eq!((gap.name.as_str(), gap.json()), ("gap", json!({"reason": "grant", "spreadMs": 0})));
        say(&hub, "room:1", "now").await;
        assert_eq!(back.next().await.payload(), "now", "nothing from before the change is replayed");
        let frames = bob.until(|frame| frame.payload() == "now").await;
        assert_eq!(payloads(&frames), ["secret", "after", "now"], "nobody else notices");
        assert!(stranger.ready().await.iter().all(|frame| frame.name.is_empty()));
        // With a cursor from after the change it resumes as ever.
        assert!(visit("alice").from(back.cursor()).open(&hub).await.resumed());
    }
}

/// Row A16: what is woken and not polled for 30 s is freed, on the hub's clock and without its help.
#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_polls_is_freed() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let hub = Hub::builder()
        .on_disconnect(move |_, why| {
            counted.fetch_add((why == Disconnect::Bye(ByeReason::Stalled)).into(), Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let mut read_once = Visit::user("alice").following("room:1").open(&hub).await;
    let mut never_read = Stream::new(Visit::user("bob").answer(&hub).await.into_body(), None);
    assert_eq!(read_once.ready().await, []);
    let began = Instant::now();
    say(&hub, "room:1", 1).await;
    sleep(Duration::from_secs(29)).await;
    assert_eq!(hub.stats().sessions, 2, "not before its time");
    eventually("both are freed", 0, async || hub.stats().sessions).await;
    assert!(began.elapsed() < Duration::from_secs(36), "{:?}", began.elapsed());
    assert_eq!(hub.stats().subscriptions, 0);
    assert_eq!(ended.load(Ordering::SeqCst), 2);
    for stream in [&mut read_once, &mut never_read] {
        let last = stream.rest().await;
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].json(), json!({"reason": "stalled"}), "its body ends when it is polled again");
    }
    drop((read_once, never_read));
    assert_eq!(ended.load(Ordering::SeqCst), 2, "once");
}

/// And one that is read is never taken for one that is not, however seldom and however much it hears.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_stalled_one() {
    let hub = Hub::new();
    let mut slow = Visit::user("alice").following("room:1").open(&hub).await;
    for number in 0..50 {
        say(&hub, "room:1", number).await;
        sleep(Duration::from_secs(20)).await;
        if hub.stats().sessions == 0 {
            // The grant's own quarter of an hour is over.
            let last = slow.rest().await.pop().unwrap();
            return assert_eq!(last.json(), json!({"reason": "expired"}));
        }
        slow.chunk().await.unwrap();
    }
    panic!("it lived for longer than a grant does");
}

/// Invariant 2: constant memory a session, and never a disconnect for what it missed.
#[tokio::test(start_paused = true)]
async fn a_client_that_missed_more_than_is_kept_is_told_and_stays() {
    let hub = Hub::builder().retain_bytes(4 << 20).build().unwrap();
    let mut slow = Visit::user("alice").following("room:1").open(&hub).await;
    for number in 0..2000 {
        say(&hub, "room:1", format!("{number:04096}")).await;
    }
    let retained = hub.stats().retained_bytes;
    assert!(retained <= 1 << 20, "one channel is bounded: {retained}");
    let frames = slow
        .until(|frame| frame.name == "message" && frame.payload().as_str().unwrap().ends_with("1999"))
        .await;
    assert_eq!(frames[0].json()["reason"], "evicted");
    let numbers: Vec<usize> =
        payloads(&frames).iter().map(|payload| payload.as_str().unwrap().parse().unwrap()).collect();
    assert!(numbers.len() > 200, "{}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "whole from the gap on");
}

/// Row D13: nothing to forget.
#[tokio::test(start_paused = true)]
async fn ten_thousand_streams_come_and_go_and_leave_nothing() {
    let hub = Hub::new();
    let baseline = hub.stats();
    for id in 0..10_000_u32 {
        let visit = Visit::of(Grant::user(id).scope(("tenant", id % 100)).follow("room:*"));
        let mut stream = visit.following(&format!("room:{id},room:{}", id % 10)).open(&hub).await;
        if id % 3 == 0 {
            assert_eq!(stream.ready().await, []);
        }
    }
    assert_eq!(hub.stats(), baseline);
}
