//! [`Link`]: a network between a browser and a server, which a test can cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to a port of this machine, until it is cut.
#[derive(Debug)]
pub struct Link {
    port: u16,
    up: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to this port, which need not be listened on.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (up, watched) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(pass_on(browser, target, watched.clone()));
            }
        });
        Link { port, up, task }
    }

    /// Its address, on this side.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends every connection, and each new one at once.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(mut browser: TcpStream, target: u16, mut up: watch::Receiver<bool>) {
    let passing = async {
        if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
            // An error is one of the two going away, which ends the other.
            let _ = copy_bidirectional(&mut browser, &mut server).await;
        }
    };
    tokio::select! {
        biased;
        _ = up.wait_for(|up| !up) => {}
        () = passing => {}
    }
}
