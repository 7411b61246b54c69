//! A server for a tower service: HTTP/1.1 and HTTP/2 on one port, and an end.

use std::error::Error;
use std::pin::pin;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tower::Service;
use tower_revalidate::{BoxError, Hub};

/// Serves until the process is told to end.
///
/// # Errors
/// When it cannot listen.
pub async fn serve<S, B>(service: S, hub: Hub) -> Result<(), Box<dyn Error>>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = crate::listen().await?;
    let (stop, overdue) = crate::shutdown(hub);
    let mut stop = pin!(stop);

    let mut http = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper waits for ever for a request's head.
    http.http1().timer(TokioTimer::new());
    http.http2().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    loop {
        let socket = tokio::select! {
            accepted = crate::accept(&listener) => accepted,
            () = &mut stop => break,
        };
        crate::tune(&socket);
        let service = TowerToHyperService::new(service.clone());
        let connection = http.serve_connection(TokioIo::new(socket), service).into_owned();
        // An error is a peer that went away or does not speak HTTP: no news.
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = overdue => {}
    }
    Ok(())
}
