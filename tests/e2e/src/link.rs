//! [`Link`]: a network between a browser and a server, which a test can break.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to a port of this machine, until it breaks.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Whole,
    Cut,
    BadGateway,
}

impl Link {
    /// A link to this port, which need not be listened on.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (state, watched) = watch::channel(State::Whole);
        let task = tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(pass_on(browser, target, watched.clone()));
            }
        });
        Link { port, state, task }
    }

    /// Its address, on this side.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends every connection, and each new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Ends every connection, and answers each new one as a proxy does whose server is gone: with 502.
    pub fn answer_502(&self) {
        self.state.send_replace(State::BadGateway);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An error in here is one of the two going away, which ends the other.
async fn pass_on(mut browser: TcpStream, target: u16, mut state: watch::Receiver<State>) {
    let now = *state.borrow();
    match now {
        State::Cut => {}
        State::BadGateway => {
            let answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = browser.read(&mut [0; 8192]).await;
            let _ = browser.write_all(answer).await;
        }
        State::Whole => {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            tokio::select! {
                _ = state.wait_for(|state| *state != State::Whole) => {}
                _ = copy_bidirectional(&mut browser, &mut server) => {}
            }
        }
    }
}
