//! tonic's server takes the hub's layers as they are: a call's `Revalidate` is heard on the stream, both on one port
//! of HTTP/2, and what makes a response gRPC passes through.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use e2e::{Client, Version, soon};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tower::{Service, ServiceBuilder};
use tower_revalidate::{Hub, Revalidate};

#[tokio::test]
async fn a_call_is_heard_on_the_stream_of_the_same_port() {
    let hub = Hub::new();
    let stack = ServiceBuilder::new()
        .layer(hub.layer()) // outermost
        .layer(hub.mount_layer("/realtime")) // answers the mount, passes on the rest
        .into_inner();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let base = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = tonic::transport::Server::builder().layer(stack).add_service(Posts);
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let client = Client::new(base, Version::Http2);
    let (mut stream, _) = client.open("").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(call(&client, "").await, (None, Some(Code::InvalidArgument)));
    assert_eq!(call(&client, "one").await, (Some("created one".to_owned()), Some(Code::Ok)));
    assert_eq!(stream.keys().await, json!([["posts", "list"]]));
    // And nothing of the call that was refused.
    hub.revalidate("other").await.expect("it stands");
    assert_eq!(stream.keys().await, json!([["other"]]));

    hub.shutdown();
    assert_eq!(stream.next().await.map(|event| event.name).as_deref(), Some("bye"));
    assert_eq!(stream.next().await, None);
    serving.abort();
}

/// A unary call as it is on the wire: the message, and the code in the trailers, or in the headers where no message
/// comes (gRPC over HTTP/2, "Responses").
async fn call(client: &Client, title: &str) -> (Option<String>, Option<Code>) {
    let length = u8::try_from(title.len()).expect("tests send short titles");
    let message = format!("\0\0\0\0{}{title}", char::from(length));
    let grpc = client.with("content-type", "application/grpc").with("te", "trailers");
    let response = grpc.send(Method::POST, "/demo.Posts/Add", &message).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let headers = response.headers().clone();
    let body = soon("an answer", response.into_body().collect()).await.expect("it is whole");
    let trailers = body.trailers().cloned().unwrap_or(headers);
    let code = trailers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    let message = body.to_bytes();
    let message = message.get(5..).map(|text| String::from_utf8_lossy(text).into_owned());
    (message, code)
}

/// What tonic-build would write for `service Posts { rpc Add (…) returns (…); }`.
#[derive(Debug, Clone)]
struct Posts;

impl NamedService for Posts {
    const NAME: &'static str = "demo.Posts";
}

impl Service<Request<Body>> for Posts {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(Text).unary(Add, request).await) })
    }
}

struct Add;

impl UnaryService<String> for Add {
    type Response = String;
    type Future = Ready<Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let title = request.into_inner();
        if title.is_empty() {
            return ready(Err(Status::invalid_argument("a post needs a title")));
        }
        let mut response = tonic::Response::new(format!("created {title}"));
        response.extensions_mut().insert(Revalidate::key("posts.list"));
        ready(Ok(response))
    }
}

/// Text in place of protobuf, which would need a compiler.
#[derive(Debug, Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Text;
    type Decoder = Text;

    fn encoder(&mut self) -> Text {
        Text
    }

    fn decoder(&mut self) -> Text {
        Text
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes: Bytes = bytes.copy_to_bytes(bytes.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
