//! How a server starts and ends.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower_revalidate::Hub;

/// How long open requests may take to end. `Hub::shutdown` ends every stream at once, but a peer that does not
/// read can hold its connection open for ever, so there is an end to waiting.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long sent bytes may stay unacknowledged: a peer that vanished is found by the next heartbeat.
#[cfg(target_os = "linux")]
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// Listens on `PORT` (3000 by default, 0 is any free one) of `ADDRESS` (127.0.0.1 by default), and says so.
///
/// # Errors
/// When one of them is wrong, or the port is taken.
pub async fn listen() -> Result<TcpListener, Box<dyn Error>> {
    let port = match std::env::var("PORT") {
        Ok(port) => port.parse().map_err(|_| format!("PORT is no port: {port:?}"))?,
        Err(_) => 3000,
    };
    let address = match std::env::var("ADDRESS") {
        Ok(address) => address.parse().map_err(|_| format!("ADDRESS is no IP address: {address:?}"))?,
        Err(_) => IpAddr::from([127, 0, 0, 1]),
    };
    let listener = TcpListener::bind((address, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}

/// The next connection. An error of accepting is no end: it is said, and tried again.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                // Out of file descriptors, most likely: asking again at once would burn the processor.
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Sets the options that a socket with a stream of events wants. One that cannot be set costs a delay, no event.
pub fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(PEER_TIMEOUT));
}

/// The same where a framework keeps its sockets to itself: on Linux a socket has the options of the listener that
/// accepted it.
pub fn tune_listener(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        let listener = socket2::SockRef::from(listener);
        let _ = listener.set_tcp_nodelay(true);
        let _ = listener.set_tcp_user_timeout(Some(PEER_TIMEOUT));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Two futures: the first is the server's signal for a graceful shutdown (SIGTERM or ctrl-c came, and the hub
/// ended its streams); the second resolves [`GRACE`] later, and then the server is to be dropped.
pub fn shutdown(hub: Hub) -> (impl Future<Output = ()> + Send + 'static, impl Future<Output = ()> + Send) {
    let (begin, begun) = oneshot::channel();
    let stop = async move {
        shutdown_signal().await;
        hub.shutdown();
        let _ = begin.send(());
    };
    let overdue = async move {
        match begun.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            // The server ended by itself and dropped its signal.
            Err(_) => std::future::pending().await,
        }
    };
    (stop, overdue)
}

/// Where a signal cannot be listened to, it keeps its default, which ends the process.
async fn shutdown_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
