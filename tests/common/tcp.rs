//! Real sockets: a server for any app, a client of either HTTP, and one that can misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use super::soon;
use super::sse::{Parser, Stream};
use super::stack::App;

/// A server; dropped, it is gone with all its connections, as after a kill.
pub struct Server {
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    pub async fn start(app: App) -> Self {
        Self::on(([127, 0, 0, 1], 0).into(), app).await
    }

    /// On an address where another one was before.
    pub async fn on(addr: SocketAddr, app: App) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let app = app.clone().map_request(|request: Request<Incoming>| request.map(Body::new));
                connections.spawn(async move {
                    let mut http = auto::Builder::new(TokioExecutor::new());
                    http.http1().timer(TokioTimer::new());
                    http.http2().timer(TokioTimer::new());
                    // An error is a peer that went away: what these tests are about.
                    let _ = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(app)).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Server { addr, accepting }
    }

    pub async fn stop(self) {
        self.accepting.abort();
        while !self.accepting.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Version {
    Http1,
    Http2,
}

/// One connection of a well-behaved client; dropped, it closes.
pub struct Client {
    addr: SocketAddr,
    send: Send,
    connection: JoinHandle<()>,
}

enum Send {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub async fn connect(addr: SocketAddr, version: Version) -> Self {
        let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
        let (send, connection) = match version {
            Version::Http1 => {
                let (send, connection) = http1::handshake(io).await.unwrap();
                (Send::Http1(send), tokio::spawn(async move { drop(connection.await) }))
            }
            Version::Http2 => {
                let (send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                (Send::Http2(send), tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Client { addr, send, connection }
    }

    pub async fn send(&mut self, mut request: Request<Body>) -> Response<Incoming> {
        request.headers_mut().insert("host", self.addr.to_string().parse().unwrap());
        let sent = async {
            match &mut self.send {
                Send::Http1(send) => {
                    send.ready().await.unwrap();
                    send.send_request(request).await.unwrap()
                }
                Send::Http2(send) => {
                    send.ready().await.unwrap();
                    request.headers_mut().remove("host");
                    let uri = format!("http://{}{}", self.addr, request.uri());
                    *request.uri_mut() = uri.parse().unwrap();
                    send.send_request(request).await.unwrap()
                }
            }
        };
        soon("a response", sent).await
    }

    /// Opens a stream and reads its `hello`.
    pub async fn stream(&mut self, channels: &str, user: &str, cursor: Option<&str>) -> Stream<Incoming> {
        let path = format!("/realtime/events?channels={channels}");
        let mut request = super::stack::request("GET", &path, user, "");
        if let Some(cursor) = cursor {
            request.headers_mut().insert("last-event-id", cursor.parse().unwrap());
        }
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream::new(response.into_body(), cursor);
        stream.greet().await;
        stream
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A client that does as little as it likes: it may stop reading, or reset the connection.
pub struct Raw {
    socket: TcpStream,
}

impl Raw {
    /// Asks for a stream. The kernel takes little for it, so that a client that does not read is noticed soon.
    pub async fn get(addr: SocketAddr, channels: &str, user: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut socket = socket.connect(addr).await.unwrap();
        let request = format!(
            "GET /realtime/events?channels={channels} HTTP/1.1\r\nhost: {addr}\r\nx-user: {user}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        Raw { socket }
    }

    /// Reads until what came holds `text`.
    pub async fn read_until(&mut self, text: &str) -> Vec<u8> {
        let mut came = Vec::new();
        let read = async {
            let mut searched = 0;
            while !came[searched..].windows(text.len()).any(|window| window == text.as_bytes()) {
                searched = came.len().saturating_sub(text.len());
                let read = self.socket.read_buf(&mut came).await.unwrap();
                assert!(read > 0, "the server hung up before {text:?}, after {} bytes", came.len());
            }
        };
        soon(text, read).await;
        came
    }

    /// Reads so many bytes of the connection, as they are, or fewer if `last` came.
    pub async fn read(&mut self, bytes: usize, last: &str) -> Vec<u8> {
        let mut came = Vec::with_capacity(bytes);
        let read = async {
            while came.len() < bytes && !came.windows(last.len()).any(|window| window == last.as_bytes()) {
                let mut rest = (&mut self.socket).take((bytes - came.len()) as u64);
                let read = rest.read_buf(&mut came).await.unwrap();
                assert!(read > 0, "the server hung up");
            }
        };
        soon("bytes", read).await;
        came
    }

    /// Resets the connection, without a farewell.
    pub fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }
}

/// The frames in a chunked body of HTTP/1.1 that may be cut anywhere, and the id to come back with.
pub fn frames(response: &[u8], came_with: Option<&str>) -> (Vec<super::Frame>, String) {
    let mut parser = Parser::new(came_with);
    let head = response.windows(4).position(|window| window == b"\r\n\r\n");
    let mut rest = head.map_or(&[][..], |end| &response[end + 4..]);
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let chunk = &rest[end + 2..];
        parser.feed(&chunk[..size.min(chunk.len())]);
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    (std::iter::from_fn(|| parser.frame()).collect(), parser.last_event_id)
}
