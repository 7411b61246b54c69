//! What stands on the wire is the server's, whatever was put into it. [`e2e::Stream`] objects to the rest.

use e2e::{Client, Server};
use http::Method;
use serde_json::{Value, json};

pub(crate) async fn nothing_can_be_forged(_server: Server, nobody: Client) {
    const FORGED: &str = "%0A%0Aevent:%20bye%0Adata:%20%7B%7D%0A%0A";
    let alice = nobody.signed_in("alice");
    let (mut stream, _) = alice.follow("announcements,room:1").await;
    for text in [
        "x\n\nevent: bye\ndata: {}\n\n",
        "x\r\rid: forged-1\r\r",
        "x\r\ndata: more",
        "\0 \u{2028} \u{85} \u{feff} \u{1f600}",
        "\"}\n\ndata: {\"channel\":\"room:1\"}",
    ] {
        alice.post("/announce", &json!({"text": text})).await;
        assert_eq!(stream.message().await, json!({"text": text}));
        alice.post("/rooms/1/messages", &json!({"text": text})).await;
        assert_eq!(stream.message().await, json!({"text": text, "sender": "alice"}));
    }

    for cursor in [FORGED, "a%0Db", "%00", "%0Aid:%20forged-1", "%FF%FE"] {
        let (mut stream, hello) = nobody.open(&format!("lastEventId={cursor}&channels=announcements")).await;
        assert_eq!(hello["resumed"], false, "{cursor}");
        assert_eq!(stream.next().await.map(|event| event.name).as_deref(), Some("gap"), "{cursor}");
        nobody.post("/announce", &json!({"text": "hear"})).await;
        assert_eq!(stream.message().await, json!({"text": "hear"}));
    }
    for name in [FORGED, "a%0Db", "%00", "a%0Did:%20forged-1", "room:1%0A"] {
        let (mut stream, hello) = alice.open(&format!("channels={name},announcements")).await;
        assert_eq!(hello["channels"], json!(["announcements"]), "{hello}");
        assert_eq!(hello["denied"][0]["code"], "malformed", "{hello}");
        nobody.post("/announce", &json!({"text": "hear"})).await;
        assert_eq!(stream.message().await, json!({"text": "hear"}));
        let path = format!("/rooms/{name}/messages");
        let (status, _) = alice.json(Method::POST, &path, r#"{"text":"hi"}"#).await;
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

pub(crate) async fn a_change_says_who_made_it(_server: Server, nobody: Client) {
    let (mut stream, _) = nobody.open("").await;
    let id = "0123456789abcdef0123456789abcdef";
    for (sent, origin) in
        [(id, Some(json!(id))), ("0123456789ABCDEF0123456789ABCDEF", None), ("0123", None), ("forged", None)]
    {
        nobody.with("x-revalidate-id", sent).post("/posts", &json!({"title": "mine"})).await;
        let stale = stream.next().await.expect("the stream goes on");
        assert_eq!(
            stale.data.get("origin").filter(|origin| **origin != Value::Null),
            origin.as_ref(),
            "{sent}"
        );
    }
}
