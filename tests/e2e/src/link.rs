//! [`Link`]: a network between a client and a server, which a test can break and read along.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::soon;

/// Passes connections on to a port of this machine, until it breaks.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
    traffic: watch::Sender<Traffic>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Whole,
    Cut,
    /// Answers with this status.
    Answers(u16),
}

/// What went over it until now.
#[derive(Debug, Default)]
pub struct Traffic {
    /// The requests for a stream, each with the `Last-Event-ID` that it had, if any.
    pub asked: Vec<Option<String>>,
    /// The connections that are open, and on which a stream was asked for.
    pub streams: usize,
    /// What came from the server, over all connections, with HTTP's own framing.
    pub told: String,
}

impl Link {
    /// A link to this port, which need not be listened on.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (state, traffic) = (watch::Sender::new(State::Whole), watch::Sender::new(Traffic::default()));
        let (watched, noted) = (state.subscribe(), traffic.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, target, watched.clone(), noted.clone()));
            }
        });
        Link { port, state, traffic, task }
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

    /// Ends every connection, and answers each new one with this status, as a proxy does whose server is gone.
    pub fn answer(&self, status: u16) {
        self.state.send_replace(State::Answers(status));
    }

    /// Mends it.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }

    /// The requests for a stream until now, each with the `Last-Event-ID` that it had, if any.
    #[must_use]
    pub fn asked(&self) -> Vec<Option<String>> {
        self.traffic.borrow().asked.clone()
    }

    /// Waits until what went over it is as expected.
    pub async fn carried(&self, what: &str, expected: impl FnMut(&Traffic) -> bool) {
        let mut traffic = self.traffic.subscribe();
        soon(what, traffic.wait_for(expected)).await.expect("the link holds the other end");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An error in here is one of the two going away, which ends the other.
async fn pass_on(
    mut client: TcpStream,
    target: u16,
    mut state: watch::Receiver<State>,
    traffic: watch::Sender<Traffic>,
) {
    let mut asks = Asks::on(traffic.clone());
    let now = *state.borrow();
    match now {
        State::Cut => {}
        State::Answers(status) => {
            let mut buffer = vec![0; 8192];
            let read = client.read(&mut buffer).await.unwrap_or_default();
            let answer = format!("HTTP/1.1 {status} \r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = client.write_all(answer.as_bytes()).await;
            let _ = client.shutdown().await;
            asks.note(&buffer[..read]);
        }
        State::Whole => {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let both = async {
                tokio::try_join!(
                    carry(&mut from_client, &mut to_server, |bytes| asks.note(bytes)),
                    carry(&mut from_server, &mut to_client, |bytes| {
                        let text = String::from_utf8_lossy(bytes);
                        traffic.send_modify(|traffic| traffic.told.push_str(&text));
                    }),
                )
            };
            tokio::select! {
                _ = state.wait_for(|state| *state != now) => {}
                _ = both => {}
            }
        }
    }
}

/// Passes on until the end, and notes what was passed on.
async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut note: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 8192];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        note(&buffer[..read]);
    }
}

/// Finds the requests for a stream in what one connection sends. Lives as long as the connection.
struct Asks {
    text: String,
    found: bool,
    traffic: watch::Sender<Traffic>,
}

impl Asks {
    fn on(traffic: watch::Sender<Traffic>) -> Self {
        Asks { text: String::new(), found: false, traffic }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.text.push_str(&String::from_utf8_lossy(bytes));
        while let Some((head, rest)) = self.text.split_once("\r\n\r\n") {
            // In front of it there may be the body of the request before.
            if let Some(begin) = head.find("GET /realtime/events") {
                let id = head[begin..].lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("last-event-id").then(|| value.trim().to_owned())
                });
                let first = !std::mem::replace(&mut self.found, true);
                self.traffic.send_modify(|traffic| {
                    traffic.asked.push(id);
                    traffic.streams += usize::from(first);
                });
            }
            self.text = rest.to_owned();
        }
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.traffic.send_modify(|traffic| traffic.streams -= usize::from(self.found));
    }
}
