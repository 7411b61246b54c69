//! The examples' page in Chromium, with the client that the crate serves: what a user sees in two tabs. Where the
//! framework makes no difference, it is axum's.

use e2e::{Chromium, Example, Link, Server};

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
    far.is_down().await;
    near.send("/posts", "meanwhile").await;
    near.shows(&["before", "meanwhile"]).await;
    assert_eq!(far.posts().await, ["before"]);

    link.mend();
    far.shows(&["before", "meanwhile"]).await;
    let log = far.log().await;
    assert!(!log.contains("gap"), "{log}");
    assert!(far.is_the_same_document().await);
}

/// A browser's own `EventSource` would give up for good.
#[tokio::test]
async fn a_stream_that_a_proxy_answered_with_an_error_is_resumed() {
    let server = Server::start(Example::Axum).await;
    let link = Link::to(server.port()).await;
    let browser = Chromium::start().await;
    let near = browser.open(&server.url()).await;
    let far = browser.open(&link.url()).await;
    near.send("/posts", "before").await;
    far.shows(&["before"]).await;

    link.answer(502);
    far.logs("http 502").await;
    near.send("/posts", "meanwhile").await;
    near.shows(&["before", "meanwhile"]).await;

    link.mend();
    far.shows(&["before", "meanwhile"]).await;
    assert!(!far.log().await.contains("gap"), "{}", far.log().await);
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
    near.is_down().await;
    far.is_down().await;

    // The store is in memory: the second process knows nothing, and nothing of what the cursors mean.
    let _server = Server::start_on(Example::Axum, port).await;
    near.is("open").await;
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
    tab.logs("without room:1").await;

    tab.sign_in("alice").await;
    tab.logs("follows room:1").await;
    tab.send("/rooms/1/messages", "anybody here?").await;
    tab.logs("room:1: alice says anybody here?").await;
}

#[tokio::test]
async fn another_user_has_another_stream_and_the_one_before_is_closed() {
    let server = Server::start(Example::Axum).await;
    let link = Link::to(server.port()).await;
    let browser = Chromium::start().await;
    let tab = browser.open(&link.url()).await;
    tab.sign_in("alice").await;
    tab.logs("follows room:1").await;

    tab.sign_in("carol").await;
    tab.logs("without room:1").await;
    tab.send("/announce", "for all").await;
    tab.logs("announcements: for all").await;
    link.carried("the end of alice's stream", |traffic| traffic.streams == 1).await;
}
