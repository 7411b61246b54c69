//! [`Local`]: a server in this process, for what the examples do not let a test choose.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower::{ServiceBuilder, service_fn};
use tower_revalidate::Hub;

/// A hub on a port, and an empty page wherever the hub is not. Dropping it ends it.
#[derive(Debug)]
pub struct Local {
    port: u16,
    task: JoinHandle<()>,
}

impl Local {
    /// Serves this hub under `/realtime`.
    pub async fn serve(hub: &Hub) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let service = ServiceBuilder::new().layer(hub.mount_layer("/realtime")).service(service_fn(blank));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                // An error is a client that went away.
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Local { port, task }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn blank(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response =
        Response::new(Full::new(Bytes::from_static(b"<!doctype html><link rel=icon href=data:,>")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    Ok(response)
}
