//! Bare hyper, HTTP/1.1, a task a connection, and no timer: what is served to others wants one, for heads of requests
//! that never end (`examples/common`).

use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tower::{Service, ServiceBuilder};
use tower_revalidate::Hub;

/// With the default bound of a payload.
const MAX_BODY: usize = 64 << 10;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

pub(crate) async fn serve(hub: Hub, writev: bool) -> Result<(), Box<dyn Error>> {
    let listener = examples_common::listen().await?;
    let (stop, overdue) = examples_common::shutdown(hub.clone());
    let mut stop = pin!(stop);
    let app = hub.clone();
    let service = ServiceBuilder::new().layer(hub.mount_layer("/realtime")).service_fn(
        move |request| -> Pin<Box<dyn Future<Output = Answer> + Send>> {
            // Boxed: hyper keeps room for the largest future of a connection for as long as that is open.
            Box::pin(answer(app.clone(), request))
        },
    );
    let mut http = http1::Builder::new();
    http.writev(writev);
    let (stops, stop_all) = watch::channel(());
    loop {
        let socket = tokio::select! {
            accepted = examples_common::accept(&listener) => accepted,
            () = &mut stop => break,
        };
        examples_common::tune(&socket);
        let service = service.clone();
        // The mount and the app behind it are always ready.
        let service = service_fn(move |request| service.clone().call(request));
        tokio::spawn(Conversation::new(http.serve_connection(TokioIo::new(socket), service), &stop_all));
    }
    // Whoever is left has a copy.
    drop(stop_all);
    let _ = stops.send(());
    tokio::select! {
        () = stops.closed() => {}
        () = overdue => {}
    }
    Ok(())
}

/// Serves a connection to its end, which is that of the answers under way once `stop` says so.
///
/// hyper-util's own way asks its signal with every poll, some 150 instructions a delivery. Here it is asked once, which
/// leaves the waker of this task with it (a task has one for life; a future that moves between tasks would need more), and
/// then looked at with a load.
#[repr(C)] // what every poll touches comes first, in one line of the cache
struct Conversation<C> {
    stop: watch::Receiver<()>,
    signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_told: bool,
    connection: C,
}

impl<C: GracefulConnection + Unpin> Conversation<C> {
    fn new(connection: C, stop: &watch::Receiver<()>) -> Self {
        Conversation { stop: stop.clone(), signal: None, is_told: false, connection }
    }
}

impl<C: GracefulConnection + Unpin> Future for Conversation<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        if this.signal.is_none() {
            let mut stop = this.stop.clone();
            let mut signal = Box::pin(async move { stop.changed().await.unwrap_or_default() });
            let _ = signal.as_mut().poll(cx);
            this.signal = Some(signal);
        }
        if !this.is_told && this.stop.has_changed().unwrap_or(true) {
            this.is_told = true;
            Pin::new(&mut this.connection).graceful_shutdown();
        }
        Pin::new(&mut this.connection).poll(cx)
    }
}

async fn answer(hub: Hub, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let status = match (&parts.method, parts.uri.path().strip_prefix("/publish/")) {
        (&Method::POST, Some(channel)) => match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => crate::publish(&hub, channel, &body.to_bytes()).await,
            Err(_) => StatusCode::BAD_REQUEST,
        },
        (&Method::GET, None) if parts.uri.path() == "/" => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}
