//! Chromium's own `EventSource` against the examples: what a user sees in two tabs. Where the framework makes no
//! difference, it is axum's.

use e2e::{Chromium, Example, Link, Server, eventually};

#[tokio::test]
async fn a_post_in_one_tab_appears_in_the_other_on_every_framework() {
    let browser = Chromium::start().await;
    for example in Example::ALL {
        let server = Server::start(example).await;
        let one = browser.open(&server.url()).await;
        let other = browser.open(&server.url()).await;

        one.send("/posts", "from one").await;
        other.shows(&["from one"]).await;
        other.send("/posts", "<b>from</b> the other").await;
        one.shows(&["from one", "<b>from</b> the other"]).await;
        let same = one.is_the_same_document().await && other.is_the_same_document().await;
        assert!(same, "{example:?}");
    }
}

#[tokio::test]
async fn a_post_made_while_a_stream_was_down_shows_when_it_is_back() {
    let server = Server::start(Example::Axum).await;
    let link = Link::to(server.port()).await;
    let browser = Chromium::start().await;
    let near = browser.open(&server.url()).await;
    let far = browser.open(&link.url()).await;
    near.send("/posts", "before").await;
    far.shows(&["before"]).await;

    link.cut();
    far.is("connecting").await;
    near.send("/posts", "meanwhile").await;
    near.shows(&["before", "meanwhile"]).await;
    assert_eq!(far.posts().await, ["before"]);

    link.mend();
    far.shows(&["before", "meanwhile"]).await;
    let log = far.log().await;
    assert!(log.contains("hello, resumed"), "{log}");
    assert!(far.is_the_same_document().await);
}

/// A browser's `EventSource` gives up for good at a status other than 200; the page opens another.
#[tokio::test]
async fn a_stream_that_the_browser_gave_up_is_resumed_by_the_page() {
    let server = Server::start(Example::Axum).await;
    let link = Link::to(server.port()).await;
    let browser = Chromium::start().await;
    let near = browser.open(&server.url()).await;
    let far = browser.open(&link.url()).await;
    near.send("/posts", "before").await;
    far.shows(&["before"]).await;

    link.answer(502);
    far.gave_up().await;
    near.send("/posts", "meanwhile").await;
    near.shows(&["before", "meanwhile"]).await;

    link.mend();
    far.shows(&["before", "meanwhile"]).await;
    assert!(far.log().await.contains("hello, resumed"), "{}", far.log().await);
    assert!(far.is_the_same_document().await);
}

#[tokio::test]
async fn the_list_is_right_after_the_server_was_killed_and_restarted() {
    let server = Server::start(Example::Axum).await;
    let port = server.port();
    let link = Link::to(port).await;
    let browser = Chromium::start().await;
    let near = browser.open(&server.url()).await;
    let far = browser.open(&link.url()).await;
    near.send("/posts", "of the first process").await;
    near.shows(&["of the first process"]).await;
    far.shows(&["of the first process"]).await;

    server.kill().await;
    link.cut();
    near.is("connecting").await;
    far.is("connecting").await;

    // The store is in memory: the second process knows nothing, and nothing of what the cursors mean.
    let _server = Server::start_on(Example::Axum, port).await;
    near.is("live").await;
    near.shows(&[]).await;
    near.send("/posts", "while the other was down").await;
    near.shows(&["while the other was down"]).await;
    assert_eq!(far.posts().await, ["of the first process"]);

    link.mend();
    far.shows(&["while the other was down"]).await;
    near.send("/posts", "and on").await;
    far.shows(&["while the other was down", "and on"]).await;
    assert!(near.is_the_same_document().await && far.is_the_same_document().await);
}

#[tokio::test]
async fn a_message_to_a_room_reaches_those_who_signed_in_to_it() {
    let server = Server::start(Example::Axum).await;
    let browser = Chromium::start().await;
    let tab = browser.open(&server.url()).await;
    assert!(tab.log().await.contains("without room:1"), "{}", tab.log().await);

    tab.sign_in("alice").await;
    tab.is("live").await;
    tab.send("/rooms/1/messages", "anybody here?").await;
    let heard = async || tab.log().await.contains("room:1: alice says anybody here?");
    eventually("the message", true, heard).await;
}
