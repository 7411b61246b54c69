//! Messages for some of a channel's followers: without the sender, or for named users alone.
#![allow(clippy::unwrap_used)]

mod common;

use tower_revalidate::{Event, Grant, Hub, Policy, PublishError, Subscription, message};

fn follower(hub: &Hub, grant: Grant) -> Subscription {
    hub.subscribe(grant.follow("**")).unwrap().follow("room:1").unwrap()
}

fn heard(sub: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| sub.try_recv().unwrap()).collect()
}

#[tokio::test]
async fn the_sender_is_left_out_with_all_sessions() {
    let hub = Hub::new();
    let (mut one, mut two) = (follower(&hub, Grant::user("alice")), follower(&hub, Grant::user("alice")));
    let (mut bob, mut nobody) = (follower(&hub, Grant::user("bob")), follower(&hub, Grant::anonymous()));
    hub.channel("room:1").except("alice").publish("moved", &0).await.unwrap();
    hub.channel("room:1").publish("said", &false).await.unwrap();
    let both = [message("room:1", "moved", &0), message("room:1", "said", &false)];
    for alice in [&mut one, &mut two] {
        assert_eq!(heard(alice), both[1..]);
    }
    for other in [&mut bob, &mut nobody] {
        assert_eq!(heard(other), both);
    }
}

#[tokio::test]
async fn named_users_alone_hear_it() {
    let hub = Hub::new();
    let users = ["alice", "bob", "carol"].map(Grant::user);
    let mut subs = users.map(|user| follower(&hub, user));
    let mut nobody = follower(&hub, Grant::anonymous());
    hub.channel("room:1").only(["alice", "carol"]).publish("note", &"").await.unwrap();
    hub.channel("room:1").only([""; 0]).publish("note", &"for nobody").await.unwrap();
    let counts = subs.each_mut().map(|sub| heard(sub).len());
    assert_eq!(counts, [1, 0, 1]);
    assert_eq!(heard(&mut nobody), []);
}

#[tokio::test]
async fn who_comes_back_hears_no_more_than_who_stayed() {
    let hub = Hub::new();
    let mut service = hub.service();
    let before = hub.cursor();
    hub.channel("room:1").only(["bob"]).publish("secret", &"for bob").await.unwrap();
    hub.channel("room:1").publish("said", &"for all").await.unwrap();
    for (user, sees) in [("alice", false), ("bob", true)] {
        let path = format!("/realtime/events?channels=room:1&lastEventId={before}");
        let mut request = http::Request::get(path).body(String::new()).unwrap();
        request.extensions_mut().insert(Grant::user(user).follow("room:1"));
        let mut body = tower::Service::call(&mut service, request).await.unwrap().into_body();
        let first = futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
        let text = String::from_utf8(first.to_vec()).unwrap();
        assert!(text.contains("for all"), "{text}");
        assert_eq!(text.contains("for bob"), sees, "{text}");
        // Past what it may not see, too, it may acknowledge everything.
        let id = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back();
        assert_eq!(id, Some(&*hub.cursor().to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_current_value_is_for_those_it_was_published_to() {
    let hub = Hub::builder().channel("room:1", Policy::latest()).build().unwrap();
    hub.channel("room:1").only(["bob"]).publish("value", &1).await.unwrap();
    assert_eq!(heard(&mut follower(&hub, Grant::user("alice"))), []);
    assert_eq!(heard(&mut follower(&hub, Grant::user("bob"))), [message("room:1", "value", &1)]);
}

#[tokio::test]
async fn the_names_of_the_protocol_are_not_the_apps() {
    let hub = Hub::new();
    for name in ["hello", "revalidate", "gap", "bye", "presence", "presence_update"] {
        let refused = hub.channel("room:1").publish(name, &1).await;
        assert_eq!(refused, Err(PublishError::EventName(name.into())), "{name}");
    }
    hub.channel("room:1").publish("presence_updated", &1).await.unwrap();
}
