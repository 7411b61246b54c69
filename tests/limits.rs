//! How often streams may be opened: by whom, from where, and what those hear who are refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::post::Post;
use common::{Stream, Visit, at, json};
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use tower::ServiceExt;
use tower_revalidate::{Audit, Builder, ClientAddress, Grant, Hub, Limit, Refusal, SseBody};

fn ten() -> Limit {
    Limit::by_identity().per_minute(10).burst(10)
}

fn behind_a_proxy() -> Builder {
    Hub::builder().client_address(ClientAddress::forwarded_for(1))
}

/// Through a proxy that appends the address it was asked from.
fn from(visit: Visit, address: &str) -> Visit {
    visit.header("x-forwarded-for", address)
}

/// Whether a stream opened. It is closed at once: what is open does not count.
async fn opens(visit: &Visit, hub: &Hub) -> bool {
    let response = visit.answer(hub).await;
    assert_eq!(response.status(), StatusCode::OK, "another status ends an `EventSource` for good");
    let mut stream = Stream::new(response.into_body(), None);
    let first = stream.next().await;
    match &*first.name {
        "hello" => true,
        "bye" => {
            assert_eq!(first.json()["reason"], "limited");
            assert_eq!(stream.rest().await, [], "it ends");
            false
        }
        _ => panic!("{first:?}"),
    }
}

/// How many of so many tries open.
async fn opened(tries: usize, visit: &Visit, hub: &Hub) -> usize {
    let mut open = 0;
    for _ in 0..tries {
        open += usize::from(opens(visit, hub).await);
    }
    open
}

async fn seconds_to_wait(response: Response<SseBody>) -> u64 {
    let wait = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let (status, error) = json(response).await;
    assert_eq!((status, &error["code"]), (StatusCode::TOO_MANY_REQUESTS, &"limited".into()));
    wait
}

/// Row D1: 10 in 60 s, the 11th is refused, the window passes.
#[tokio::test(start_paused = true)]
async fn the_eleventh_is_refused_until_time_has_passed() {
    let hub = Hub::builder().limit(ten()).build().unwrap();
    let alice = Visit::user("alice");
    assert_eq!(opened(11, &alice, &hub).await, 10);
    assert_eq!(opened(11, &Visit::user("bob"), &hub).await, 10, "each has a limit of their own");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(opened(11, &alice, &hub).await, 10);
    assert_eq!(hub.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn who_can_read_a_status_is_told_when_to_come_again() {
    let hub = Hub::builder().limit(ten()).build().unwrap();
    let client = Visit::user("alice").header("x-revalidate-client", "1");
    assert_eq!(opened(10, &client, &hub).await, 10);
    let wait = seconds_to_wait(client.answer(&hub).await).await;
    assert!((6..=16).contains(&wait), "one place in 6 s, and up to 9 s so that not all come at once: {wait}");
    tokio::time::advance(Duration::from_secs(wait)).await;
    assert!(opens(&client, &hub).await, "who waits as told is let in");
}

/// A native one waits for as long as `retry` says.
#[tokio::test(start_paused = true)]
async fn a_native_event_source_waits_and_is_let_in() {
    let hub = Hub::builder().limit(ten()).build().unwrap();
    let native = Visit::user("alice");
    assert_eq!(opened(10, &native, &hub).await, 10);
    let bye = Stream::new(native.answer(&hub).await.into_body(), None).next().await;
    tokio::time::advance(Duration::from_millis(bye.retry.unwrap())).await;
    assert!(opens(&native, &hub).await);
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_client_is_its_address_where_that_is_known() {
    let hub = behind_a_proxy().limit(ten()).build().unwrap();
    assert_eq!(opened(11, &from(Visit::stranger(), "192.0.2.1"), &hub).await, 10);
    assert_eq!(opened(11, &from(Visit::stranger(), "192.0.2.2"), &hub).await, 10);
    let alice = from(Visit::user("alice"), "192.0.2.1");
    assert_eq!(opened(11, &alice, &hub).await, 10, "a user is not the address that they share with others");
    let unknown = Hub::builder().limit(ten()).build().unwrap();
    assert_eq!(
        opened(30, &Visit::stranger(), &unknown).await,
        30,
        "nothing tells them apart, so none is counted"
    );
}

/// Row D1, and the issue's own: what the client writes into the header itself is not believed.
#[tokio::test(start_paused = true)]
async fn a_forged_forwarded_for_has_no_effect() {
    let hub = behind_a_proxy().limit(Limit::by_address().per_minute(10).burst(10)).build().unwrap();
    let mut open = 0;
    for forged in 0..20 {
        let list = format!("10.0.0.{forged}, 198.51.100.{forged}, 192.0.2.1");
        open += usize::from(opens(&from(Visit::stranger(), &list), &hub).await);
    }
    for forged in 0..20 {
        // On a line of its own; HAProxy appends a line, nginx to the line.
        let line = from(Visit::stranger(), &format!("10.1.0.{forged}"));
        open += usize::from(opens(&from(line, "192.0.2.1"), &hub).await);
    }
    assert_eq!(open, 10);
    assert!(opens(&from(Visit::stranger(), "192.0.2.1, 192.0.2.2"), &hub).await, "another client");
}

/// A byte that is no text makes the whole line unreadable, and must not hide what the proxy wrote.
#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_hide_nobody() {
    for limit in [ten(), Limit::by_address().per_minute(10).burst(10)] {
        let hub = behind_a_proxy().limit(limit).build().unwrap();
        let mut open = 0;
        for byte in 0x80..=0x93_u8 {
            let mut request = Visit::stranger().request();
            let line = [&[byte][..], b", 192.0.2.1"].concat();
            request.headers_mut().insert("x-forwarded-for", HeaderValue::from_bytes(&line).unwrap());
            let response = hub.service().oneshot(request).await.unwrap();
            let first = Stream::new(response.into_body(), None).next().await;
            open += usize::from(first.name == "hello");
        }
        open += opened(20, &from(Visit::stranger(), "192.0.2.1"), &hub).await;
        assert_eq!(open, 10);
    }
}

/// Whose address cannot be told is not let off: neither by address nor, without an identity, by identity.
#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_told_is_counted_too() {
    let panics = ClientAddress::by(|_| panic!("an address that panics, on purpose"));
    for address in [ClientAddress::forwarded_for(3), panics] {
        let hub = Hub::builder().client_address(address).limit(ten()).build().unwrap();
        assert_eq!(opened(20, &from(Visit::stranger(), "192.0.2.1"), &hub).await, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_network_of_64_bits_is_one_client() {
    let hub = behind_a_proxy().limit(Limit::by_address().per_minute(10).burst(10)).build().unwrap();
    let mut open = 0;
    for host in 0..20 {
        open +=
            usize::from(opens(&from(Visit::stranger(), &format!("2001:db8:1:2:{host:x}::1")), &hub).await);
    }
    assert_eq!(open, 10);
    assert!(opens(&from(Visit::stranger(), "2001:db8:1:3::1"), &hub).await, "the network beside it");
}

#[tokio::test(start_paused = true)]
async fn those_whose_address_cannot_be_told_are_one_client() {
    let hub = behind_a_proxy().limit(Limit::by_address().per_minute(10).burst(10)).build().unwrap();
    let mut open = opened(10, &Visit::stranger(), &hub).await;
    open += opened(10, &from(Visit::stranger(), "nonsense"), &hub).await;
    assert_eq!(open, 10);
}

/// Row R12 of the protocol: coming back is not starting.
#[tokio::test(start_paused = true)]
async fn who_comes_back_has_a_limit_of_their_own() {
    let hub = Hub::builder().limit(ten()).build().unwrap();
    let alice = Visit::user("alice");
    assert_eq!(opened(11, &alice, &hub).await, 10);
    let back = alice.clone().from(hub.cursor());
    assert_eq!(opened(200, &back, &hub).await, 60, "120 a minute, half of them at once");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(opened(200, &back, &hub).await, 60);
}

/// A limit that is raised for an office must let the office come back.
#[tokio::test(start_paused = true)]
async fn coming_back_is_never_stricter_than_coming() {
    let hub = behind_a_proxy().limit(Limit::by_address().per_minute(600).burst(300)).build().unwrap();
    let office = from(Visit::stranger(), "192.0.2.1");
    assert_eq!(opened(400, &office, &hub).await, 300);
    assert_eq!(opened(700, &office.clone().from(hub.cursor()), &hub).await, 600);
    let hub = Hub::builder().limit(ten().per_minute(1).burst(200)).build().unwrap();
    assert_eq!(opened(300, &Visit::user("alice").from(hub.cursor()), &hub).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_not_this_hubs_is_no_return() {
    let hub = Hub::builder().limit(ten()).build().unwrap();
    assert_eq!(opened(10, &Visit::user("alice"), &hub).await, 10);
    let cursor = hub.cursor();
    for lie in [at(cursor, cursor.offset + 1).to_string(), "abc-0".into(), "nonsense".into()] {
        let back = Visit::user("alice").from(lie);
        assert_eq!(opened(1, &back, &hub).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_replaces_a_live_session_of_their_own_comes_back() {
    let hub = Hub::builder().limit(ten()).build().unwrap();
    let alice = Visit::user("alice");
    let live = alice.open(&hub).await;
    assert_eq!(opened(10, &alice, &hub).await, 9);
    let session = live.session();
    let replacing = |session: &str| format!("replaces={session}");
    assert!(opens(&alice.clone().query(&replacing(&session)), &hub).await);
    for unknown in ["", "0", "zz", &session[..16], &format!("{session}0"), &"f".repeat(200), "é"] {
        assert!(!opens(&alice.clone().query(&replacing(unknown)), &hub).await, "{unknown:?} is no session");
    }
    // Bob knows it, and it is not his.
    assert_eq!(opened(10, &Visit::user("bob"), &hub).await, 10);
    assert!(!opens(&Visit::user("bob").query(&replacing(&session)), &hub).await);
    drop(live);
    assert!(!opens(&alice.query(&replacing(&session)), &hub).await, "it is not live any more");
}

/// What is malformed costs a place, too.
#[tokio::test(start_paused = true)]
async fn nonsense_is_counted_as_well() {
    let hub = behind_a_proxy().max_channels(1).limit(Limit::by_address().per_minute(10).burst(10));
    let hub = hub.build().unwrap();
    let client = from(Visit::stranger(), "192.0.2.1").header("x-revalidate-client", "1");
    let (too_many, too_long) = (client.clone().following("a,b"), client.query(&"x".repeat(10_000)));
    let mut answers = Vec::new();
    for visit in [too_many, too_long].iter().cycle().take(12) {
        answers.push(visit.answer(&hub).await.status().as_u16());
    }
    assert_eq!(answers, [[400; 10].as_slice(), &[429; 2]].concat());
}

/// An address is looked at before anything is done for it.
#[tokio::test(start_paused = true)]
async fn an_authorizer_is_spared_a_flood() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let hub = behind_a_proxy()
        .limit(Limit::by_address().per_minute(10).burst(10))
        .authorize(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Err::<Grant, _>(Refusal::unauthorized("no")) }
        })
        .build()
        .unwrap();
    let guess = from(Visit::stranger(), "192.0.2.1").header("x-revalidate-client", "1");
    for _ in 0..100 {
        let status = guess.answer(&hub).await.status();
        assert!(matches!(status.as_u16(), 401 | 429), "{status}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn every_limit_must_allow() {
    let hub =
        behind_a_proxy().limit(ten()).limit(Limit::by_address().per_minute(15).burst(15)).build().unwrap();
    assert_eq!(opened(20, &from(Visit::user("alice"), "192.0.2.1"), &hub).await, 10);
    // Those twenty were counted by address, the refused ones too.
    assert_eq!(opened(20, &from(Visit::user("bob"), "192.0.2.1"), &hub).await, 0);
    assert_eq!(opened(20, &from(Visit::user("bob"), "192.0.2.2"), &hub).await, 10);
}

/// A client that opens streams slowly, and keeps them all.
#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_streams_open_and_no_more() {
    let hub = behind_a_proxy().limit(Limit::by_identity().max_open(3)).build().unwrap();
    let alice = Visit::user("alice");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(alice.open(&hub).await);
    }
    assert!(!opens(&alice, &hub).await);
    assert!(!opens(&alice.clone().from(hub.cursor()), &hub).await, "one that comes back is one more, too");
    assert!(opens(&Visit::user("bob"), &hub).await);
    // A change of channels is made before the old stream is closed; one at a time.
    let replacing = alice.clone().query(&format!("replaces={}", open[0].session()));
    let beside = replacing.open(&hub).await;
    assert!(!opens(&replacing, &hub).await);
    drop(beside);
    open.pop();
    assert!(opens(&alice, &hub).await, "one closed");
    // Ended by the hub, and not read any more by the client: the connection is still there.
    open.push(alice.open(&hub).await);
    hub.regrant("alice").await.unwrap();
    assert_eq!(hub.stats().sessions, 0);
    assert!(!opens(&alice.clone().from(hub.cursor()), &hub).await);
    open.clear();
    for _ in 0..3 {
        open.push(alice.open(&hub).await);
    }
    assert!(!opens(&alice, &hub).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_given_up_takes_no_place() {
    let hub = behind_a_proxy()
        .limit(Limit::by_address().burst(100).max_open(1))
        .authorize(|parts| async move {
            match parts.headers.get("x-user") {
                None => Err(Refusal::unauthorized("no")),
                Some(user) if user == "slow" => std::future::pending().await,
                Some(_) => Ok(Grant::user("alice")),
            }
        })
        .build()
        .unwrap();
    let visit = from(Visit::stranger(), "192.0.2.1");
    for _ in 0..3 {
        assert_eq!(visit.answer(&hub).await.status(), StatusCode::UNAUTHORIZED);
    }
    let slow = visit.clone().header("x-user", "slow");
    let given_up = tokio::time::timeout(Duration::from_secs(1), slow.answer(&hub));
    assert!(given_up.await.is_err());
    assert!(opens(&visit.header("x-user", "alice"), &hub).await);
}

#[tokio::test(start_paused = true)]
async fn clients_beyond_the_bound_share_one_limit() {
    let hub = Hub::builder().limit(ten().max_clients(2)).build().unwrap();
    let users = ["a", "b", "c", "d", "e"].map(Visit::user);
    let mut open = 0;
    for user in &users {
        open += opened(20, user, &hub).await;
    }
    assert_eq!(open, 30, "two have their own, the others one together");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(opened(20, &users[4], &hub).await, 10, "the others left meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_to_the_audit() {
    type Told = (u16, String, Option<String>, Option<IpAddr>);
    let told: Arc<Mutex<Vec<Told>>> = Arc::default();
    let tell = told.clone();
    let hub = behind_a_proxy()
        .limit(Limit::by_identity().burst(1))
        .on_audit(move |audit| {
            if let Audit::Refused { status, code, identity, address, .. } = audit {
                let told = (status.as_u16(), code.to_string(), identity.map(str::to_owned), *address);
                tell.lock().push(told);
            }
        })
        .build()
        .unwrap();
    assert_eq!(opened(2, &from(Visit::user("alice"), "192.0.2.1"), &hub).await, 1);
    let address = "192.0.2.1".parse().unwrap();
    assert_eq!(*told.lock(), [(429, "limited".into(), Some("alice".into()), Some(address))]);
}

#[test]
fn a_limit_that_cannot_work_is_named() {
    let wrong = |limit: Limit| Hub::builder().limit(limit).build().unwrap_err();
    assert_eq!(wrong(Limit::by_address()).option, "limit");
    assert!(wrong(Limit::by_address()).reason.contains("client_address"));
    for limit in [
        ten().per_minute(0),
        ten().burst(0),
        ten().returns_per_minute(0),
        ten().max_open(0),
        ten().max_clients(0),
        ten().per_minute(1).burst(u32::MAX),
    ] {
        assert_eq!(wrong(limit).option, "limit");
    }
    let no_proxy = Hub::builder().client_address(ClientAddress::forwarded_for(0)).build().unwrap_err();
    assert_eq!(no_proxy.option, "client_address");
}

fn emit(user: &str) -> Post {
    Post::emit("room:1", "said", json!(1)).user(user)
}

/// How many of so many tries are taken; the rest is told when to come again.
async fn taken(tries: usize, post: &Post, hub: &Hub) -> usize {
    let mut taken = 0;
    for _ in 0..tries {
        let answer = post.answer(hub).await;
        if answer.status().is_success() {
            taken += 1;
        } else {
            let wait = seconds_to_wait(answer).await;
            assert!((1..=22).contains(&wait), "at most one place in 20 s, and a second: {wait}");
        }
    }
    taken
}

fn trusted(builder: Builder) -> Builder {
    builder.broadcast(async |parts: http::request::Parts| {
        Ok(Grant::user(parts.headers["x-app"].to_str()?).publish("room:*"))
    })
}

/// Row D6: what is emitted, what is broadcast and what is opened are counted each for itself.
#[tokio::test(start_paused = true)]
async fn streams_events_and_broadcasts_are_refused_each_for_itself() {
    let five = Limit::by_identity().per_minute(5).burst(5);
    let three = Limit::by_identity().per_minute(3).burst(3);
    let builder = trusted(Hub::builder().limit(ten()).limit_emit(five).limit_broadcast(three));
    let hub = builder.build().unwrap();
    hub.relay("room:*", "said");
    assert_eq!(taken(9, &emit("alice"), &hub).await, 5);
    assert_eq!(opened(11, &Visit::user("alice"), &hub).await, 10);
    assert_eq!(taken(9, &emit("bob"), &hub).await, 5, "each has a limit of their own");
    let broadcast = Post::to("broadcast", r#"{"channel":"room:1","payload":1}"#);
    let revalidate = Post::to("revalidate", r#"{"keys":["posts"]}"#);
    assert_eq!(taken(2, &broadcast.clone().header("x-app", "alice"), &hub).await, 2);
    assert_eq!(taken(2, &revalidate.header("x-app", "alice"), &hub).await, 1, "both are one limit");
    assert_eq!(taken(4, &broadcast.header("x-app", "billing"), &hub).await, 3);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(taken(9, &emit("alice"), &hub).await, 5);
}

/// Before it is authorised and before its body is read: also what is refused for another reason is counted.
#[tokio::test(start_paused = true)]
async fn an_address_is_counted_before_it_is_known_whose_it_is() {
    let asked = Arc::new(AtomicUsize::new(0));
    let asks = asked.clone();
    let hub = behind_a_proxy()
        .limit_emit(Limit::by_address().per_minute(5).burst(5))
        .authorize(move |_| {
            asks.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err(Refusal::forbidden("no")))
        })
        .build()
        .unwrap();
    let post = emit("alice").header("x-forwarded-for", "192.0.2.1");
    for nth in 0..9 {
        let expected = if nth < 5 { "403 accessdenied" } else { "429 limited" };
        assert_eq!(post.refused(&hub).await, expected);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    assert_eq!(post.header("x-forwarded-for", "192.0.2.2").refused(&hub).await, "403 accessdenied");
}

#[test]
fn what_is_said_of_streams_alone_is_refused_of_posts() {
    for limit in [ten().max_open(1), ten().returns_per_minute(1), ten().per_minute(0)] {
        let refused = |builder: Builder| builder.build().unwrap_err().option;
        assert_eq!(refused(Hub::builder().limit_emit(limit.clone())), "limit_emit");
        assert_eq!(refused(Hub::builder().limit_broadcast(limit)), "limit_broadcast");
    }
    let by_address = Limit::by_address();
    assert!(Hub::builder().limit_emit(by_address.clone()).build().is_err(), "it needs `client_address`");
    assert!(behind_a_proxy().limit_broadcast(by_address).build().is_ok());
}
