//! The clients: each comes, reads, stalls, lies about where it was, and goes, as its seed says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower_revalidate::{Cursor, Epoch};

use crate::common::sse::Parser;
use crate::judge::{Came, Judge};
use crate::server::HEARTBEAT;
use crate::world::{ROOMS, Truth, USERS, rooms};

/// A stream that is read is never silent for as long as this, however busy the machine is.
const SILENCE: Duration = Duration::from_secs(30);

/// What all of the clients did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) streams: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) lies: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) byes: AtomicU64,
}

/// What goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    Running,
    /// Nothing is published any more: who is there reads to the end.
    Settling,
    Leaving,
}

pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) truth: Arc<Truth>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) user: Option<u32>,
    /// Where it was, as far as it knows.
    pub(crate) cursor: Option<Cursor>,
}

/// An open stream, its reader, and the connection under it, which drops with it.
struct Stream {
    body: Incoming,
    parser: Parser,
    judge: Judge,
    connection: JoinHandle<()>,
    /// The ports of the server and of this client.
    ports: (u16, u16),
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    pub(crate) fn new(
        addr: SocketAddr,
        truth: Arc<Truth>,
        tally: Arc<Tally>,
        phase: watch::Receiver<Phase>,
        seed: u64,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let user = Some(rng.u32(0..USERS)).filter(|_| rng.u8(0..8) > 0);
        Client { addr, truth, tally, phase, rng, user, cursor: None }
    }

    /// Comes and goes until there is an end of it.
    pub(crate) async fn run(mut self) {
        self.pause(Duration::from_secs(10)).await;
        while self.now() == Phase::Running {
            let came = self.came();
            let mut stream = self.open(came).await;
            self.tally.streams.fetch_add(1, Relaxed);
            self.visit(&mut stream).await;
            if let Ok(cursor) = stream.parser.last_event_id.parse::<Cursor>() {
                // What it lied about it does not believe itself.
                self.cursor = Some(cursor).filter(|_| stream.judge.acknowledged == cursor.offset);
            }
            drop(stream);
            self.pause(Duration::from_secs(3)).await;
        }
    }

    fn now(&self) -> Phase {
        *self.phase.borrow()
    }

    async fn pause(&mut self, at_most: Duration) {
        let pause = at_most.mul_f64(self.rng.f64());
        let _ = timeout(pause, self.phase.wait_for(|phase| *phase != Phase::Running)).await;
    }

    /// Most say the truth about where they were.
    fn came(&mut self) -> Came {
        let tip = self.truth.ledger().tip();
        let epoch = self.truth.epoch;
        if self.rng.u8(0..4) > 0 {
            return self.cursor.map_or(Came::Fresh, Came::With);
        }
        self.tally.lies.fetch_add(1, Relaxed);
        match self.rng.u8(0..5) {
            0 => Came::With(Cursor { epoch, offset: self.rng.u64(tip + 1_000_000..) }),
            1 => Came::With(Cursor {
                epoch: Epoch::from_random(self.rng.u64(..)),
                offset: self.rng.u64(0..=tip),
            }),
            2 => Came::Strange,
            3 => Came::With(Cursor { epoch, offset: self.rng.u64(0..=tip) }),
            _ => Came::With(Cursor { epoch, offset: tip.saturating_sub(self.rng.u64(0..2000)) }),
        }
    }

    /// Some of its rooms, some of others, and what is public; each once.
    fn asks(&mut self) -> Vec<String> {
        let version = self.truth.ledger().versions(self.user).0;
        let own = self.user.map(|user| rooms(user, version)).unwrap_or_default();
        let others = (0..2).map(|_| format!("room:{}", self.rng.u32(0..ROOMS)));
        let mut asked: Vec<_> =
            own.into_iter().chain(others).chain(["news".into(), "board".into()]).collect();
        asked.retain(|_| self.rng.u8(0..5) > 0);
        self.rng.shuffle(&mut asked);
        let mut seen = std::collections::HashSet::new();
        asked.retain(|channel| seen.insert(channel.clone()));
        asked
    }

    async fn open(&mut self, came: Came) -> Stream {
        let asked = self.asks();
        let sent = match &came {
            Came::Fresh => None,
            Came::With(cursor) => Some(cursor.to_string()),
            Came::Strange => {
                let strange = ["-", "a", "a-g", "A-1", "0x10", "a-11111111111111111", "null", "*", "a-1,a-2"];
                Some(strange[self.rng.usize(..strange.len())].to_owned())
            }
        };
        let in_query = self.rng.bool();
        let mut uri = format!("/realtime/events?channels={}", asked.join(","));
        if let Some(sent) = sent.as_ref().filter(|_| in_query) {
            uri.extend(["&lastEventId="].into_iter().chain(form_urlencoded::byte_serialize(sent.as_bytes())));
        }
        let mut request = Request::get(uri).header("host", "soak");
        if let Some(sent) = sent.as_ref().filter(|_| !in_query) {
            request = request.header("last-event-id", sent);
        }
        if let Some(user) = self.user {
            request = request.header("x-user", user);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("it is a request");
        let judge = Judge::new(self.truth.clone(), self.user, came, asked);
        let (mut send, connection, port) = self.connect().await;
        let response =
            timeout(SILENCE, send.send_request(request)).await.expect("it answers").expect("it answers");
        assert_eq!(response.status(), 200);
        let parser = Parser::new(sent.as_deref());
        Stream { body: response.into_body(), parser, judge, connection, ports: (self.addr.port(), port) }
    }

    async fn connect(&mut self) -> (http1::SendRequest<Empty<Bytes>>, JoinHandle<()>, u16) {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Little, so that one who stalls is one soon.
        socket.set_recv_buffer_size(4096).expect("an option");
        let socket =
            timeout(SILENCE, socket.connect(self.addr)).await.expect("it accepts").expect("it accepts");
        if self.rng.bool() {
            socket.set_zero_linger().expect("an option"); // it goes with a reset
        }
        let port = socket.local_addr().expect("it is connected").port();
        let (send, connection) = http1::handshake(TokioIo::new(socket)).await.expect("no I/O yet");
        (send, tokio::spawn(async move { drop(connection.await) }), port)
    }

    /// Reads for a while, perhaps with a break, perhaps until the server ends it.
    async fn visit(&mut self, stream: &mut Stream) {
        let stays = match self.rng.u8(0..4) {
            0 => Duration::from_secs(3600),
            _ => Duration::from_millis(self.rng.u64(0..60_000)),
        };
        let at_first = stays.mul_f64(self.rng.f64() / 2.0);
        if !self.read(stream, at_first).await {
            return;
        }
        if self.rng.u8(0..5) == 0 {
            self.tally.stalls.fetch_add(1, Relaxed);
            self.pause(Duration::from_secs(45)).await;
        }
        if self.read(stream, stays).await && self.now() != Phase::Running {
            self.settle(stream).await;
        }
    }

    /// Reads for so long, or until nothing is published any more. False when the stream ended.
    async fn read(&mut self, stream: &mut Stream, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut phase = self.phase.clone();
        loop {
            stream.digest(&self.tally).await;
            tokio::select! {
                open = stream.more() => if !open { return false },
                () = tokio::time::sleep_until(until) => return true,
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return true,
            }
        }
    }

    /// Everything that was ever appended arrives, or a gap that says so.
    async fn settle(&mut self, stream: &mut Stream) {
        let tip = self.truth.ledger().tip();
        let whole = async {
            while stream.judge.acknowledged < tip || !stream.judge.is_open() {
                if !stream.more().await {
                    return; // it expired, or its grant had changed
                }
                stream.digest(&self.tally).await;
            }
        };
        let whole = timeout(SILENCE + 2 * HEARTBEAT, whole).await;
        assert!(whole.is_ok(), "{tip:x} was never acknowledged: {:?}", stream.judge);
        let _ = self.phase.wait_for(|phase| *phase == Phase::Leaving).await;
    }
}

impl Stream {
    /// Judges what came. It must not be dropped half way.
    async fn digest(&mut self, tally: &Tally) {
        while let Some(frame) = self.parser.frame() {
            match frame.name.as_str() {
                "message" | "revalidate" => drop(tally.deliveries.fetch_add(1, Relaxed)),
                "gap" => drop(tally.gaps.fetch_add(1, Relaxed)),
                "bye" => drop(tally.byes.fetch_add(1, Relaxed)),
                "hello" if frame.json()["resumed"] == true => drop(tally.resumed.fetch_add(1, Relaxed)),
                _ => {}
            }
            self.judge.read(&frame).await;
        }
    }

    /// Waits for more. False at the end, which comes after a `bye`. It may be dropped while it waits.
    async fn more(&mut self) -> bool {
        let read = loop {
            match timeout(SILENCE, self.body.frame()).await {
                Ok(read) => break read,
                // With buffers as small as these, whoever reads again after a stall may wait for a probe of TCP's,
                // whose intervals double.
                Err(_) if bytes_under_way(self.ports) => {
                    println!("bytes wait in the kernel: {:?}", self.ports);
                }
                Err(_) => panic!("silent for {SILENCE:?}: {:?}", self.judge),
            }
        };
        match read {
            Some(Ok(frame)) => {
                self.parser.feed(&frame.into_data().expect("no trailers"));
                self.parser.raw.clear();
                true
            }
            Some(Err(error)) => panic!("the stream broke: {error}"),
            None => {
                assert!(self.judge.is_over(), "the stream ended without a word: {:?}", self.judge);
                false
            }
        }
    }
}

/// Sleeps until the next of so many a second.
pub(crate) async fn paced(began: Instant, count: u64, per_second: u64) {
    let due = began + Duration::from_secs_f64(count as f64 / per_second as f64);
    if due > Instant::now() {
        sleep(due - Instant::now()).await;
    }
}

/// Whether the server's side of a connection has sent what was not acknowledged yet. Where it cannot be told, it has
/// not.
fn bytes_under_way((server, client): (u16, u16)) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    // Number, local address, remote address, state, queues: `tx:rx`, in hexadecimal.
    sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
        let [_, local, remote, _, queues, ..] = fields[..] else { return false };
        local.ends_with(&format!(":{server:04X}"))
            && remote.ends_with(&format!(":{client:04X}"))
            && !queues.starts_with("00000000")
    })
}
