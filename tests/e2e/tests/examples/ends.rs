//! How streams, connections and the server itself end.

use std::time::{Duration, Instant};

use e2e::{Client, Server, Signal, Stream, Version, eventually};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// A server that was told to end has ended by then.
const END: Duration = Duration::from_secs(20);

pub(crate) async fn clients_that_go_away_are_let_go(server: Server, nobody: Client) {
    let before = server.sockets();
    for _ in 0..100 {
        let (stream, _) = nobody.through(server.url()).follow("announcements").await;
        drop(stream);
    }
    // Over HTTP/2 on one connection, which has 200 streams at most.
    for _ in 0..250 {
        let (stream, _) = nobody.follow("announcements").await;
        drop(stream);
    }
    let (mut stream, _) = nobody.follow("announcements").await;
    nobody.post("/announce", &json!({"text": "hear"})).await;
    assert_eq!(stream.message().await, json!({"text": "hear"}));
    drop((stream, nobody));
    eventually("the sockets that the server holds", before, async || server.sockets()).await;
}

pub(crate) async fn sigint_ends_it(server: Server, client: Client) {
    let (stream, _) = client.follow("announcements").await;
    ends(server, Signal::Int, stream).await;
}

pub(crate) async fn sigterm_ends_it_though_a_client_does_not_read(server: Server, client: Client) {
    let (stream, _) = client.follow("announcements").await;
    let deaf = Deaf::open(&server, &client).await;
    let announcement = json!({"text": "x".repeat(32 * 1024)});
    for _ in 0..256 {
        client.post("/announce", &announcement).await;
    }
    ends(server, Signal::Term, stream).await;
    drop(deaf);
}

/// Ends the server, and sees it say goodbye.
async fn ends(server: Server, signal: Signal, mut stream: Stream) {
    let heard = tokio::spawn(async move {
        let mut last = None;
        while let Some(event) = stream.next().await {
            last = Some(event);
        }
        last
    });
    let told = Instant::now();
    let ended = server.end(signal).await;
    assert!(told.elapsed() < END, "it took {:?}", told.elapsed());
    assert!(ended.success(), "{ended}");
    let bye = heard.await.expect("the reader does not panic").expect("something was said");
    assert_eq!((bye.name.as_str(), &bye.data["reason"]), ("bye", &json!("shutdown")));
}

/// Follows the announcements and reads none of them, until the server cannot write any more.
enum Deaf {
    Http1 { _socket: TcpStream },
    Http2 { _stream: Stream },
}

impl Deaf {
    async fn open(server: &Server, client: &Client) -> Self {
        if client.version() == Version::Http2 {
            // A body that nobody asks for fills the stream's window.
            let (stream, _) = client.through(server.url()).follow("announcements").await;
            return Deaf::Http2 { _stream: stream };
        }
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.set_recv_buffer_size(4096).expect("it can be small");
        let address = ([127, 0, 0, 1], server.port()).into();
        let mut socket = socket.connect(address).await.expect("the server listens");
        let request = "GET /realtime/events?channels=announcements HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        socket.write_all(request.as_bytes()).await.expect("the server reads");
        socket.readable().await.expect("the server answers");
        Deaf::Http1 { _socket: socket }
    }
}
