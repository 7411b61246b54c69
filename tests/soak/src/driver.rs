//! Starts the server, publishes, has the clients come and go, looks at what is held, and sums up.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower_revalidate::Cursor;

use crate::client::{Client, Phase, Tally, paced};
use crate::server::{Figures, Order};
use crate::world::{ROOMS, TEAMS, Truth, USERS, What};
use crate::{Failure, Options};

/// How long everyone may take to be gone.
const GRACE: Duration = Duration::from_secs(60);
/// What memory may grow by, from the first third after warm-up to the last.
const GROWTH: f64 = 1.15;

struct Server {
    process: Child,
    addr: SocketAddr,
}

/// A connection to the server's own door.
struct Door(http1::SendRequest<Full<Bytes>>);

/// True when every promise was kept.
pub(crate) async fn run(options: Options) -> Result<bool, Failure> {
    println!("{options:?}");
    let server = Server::start().await?;
    let mut door = Door::open(server.addr).await?;
    let start: Cursor = door.figures().await?.cursor.parse()?;
    let truth = Arc::new(Truth::new(start.epoch));
    let tally = Arc::new(Tally::default());
    let (phase, watched) = watch::channel(Phase::Running);

    let mut clients = JoinSet::new();
    let mut seeds = fastrand::Rng::with_seed(options.seed);
    let mut enter = |clients: &mut JoinSet<()>| {
        let client = Client::new(server.addr, truth.clone(), tally.clone(), watched.clone(), seeds.u64(..));
        clients.spawn(client.run());
    };
    (0..options.clients).for_each(|_| enter(&mut clients));
    let publisher =
        tokio::spawn(publish(Door::open(server.addr).await?, truth.clone(), watched.clone(), options));

    let began = Instant::now();
    let mut violations = 0;
    let mut resident = Vec::new();
    while began.elapsed().as_secs() < options.seconds && !publisher.is_finished() {
        sleep(Duration::from_secs(1)).await;
        while let Some(ended) = clients.try_join_next() {
            violations += u64::from(ended.is_err());
            enter(&mut clients);
        }
        resident.push(server.resident()?);
        if resident.len() % 30 == 0 {
            let figures = door.figures().await?;
            report(began, &resident, &figures, &truth, &tally, violations);
        }
    }
    phase.send_replace(Phase::Settling);
    // One who stopped publishing too early has something to say.
    publisher.await??;
    let settled = timeout(GRACE, async {
        sleep(Duration::from_secs(15)).await;
        phase.send_replace(Phase::Leaving);
        while let Some(ended) = clients.join_next().await {
            violations += u64::from(ended.is_err());
        }
    });
    if settled.await.is_err() {
        println!("{} clients did not come to an end", clients.len());
        violations += 1;
    }
    drop(clients);
    violations += u64::from(!left_nothing(&mut door).await?);
    report(began, &resident, &door.figures().await?, &truth, &tally, violations);
    Ok(is_flat(&resident) && violations == 0)
}

impl Server {
    async fn start() -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("server")
            .stdin(Stdio::piped()) // it ends with us
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("it has an output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Server { process, addr: ([127, 0, 0, 1], line.trim().parse()?).into() })
    }

    /// What it holds in memory, in KiB; 0 where the kernel does not tell.
    fn resident(&self) -> Result<u64, Failure> {
        let id = self.process.id().ok_or("the server is gone")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default())
    }
}

impl Door {
    async fn open(addr: SocketAddr) -> Result<Self, Failure> {
        let (send, connection) = http1::handshake(TokioIo::new(TcpStream::connect(addr).await?)).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Door(send))
    }

    async fn ask(&mut self, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, Failure> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let request = Request::builder().method(method).uri(path).header("host", "soak");
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new(body.unwrap_or_default().into()))?;
        let answer = async {
            self.0.ready().await?;
            let response = self.0.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(Failure::from(format!("{path}: {status} {body:?}")))
            }
        };
        timeout(GRACE, answer).await?
    }

    async fn figures(&mut self) -> Result<Figures, Failure> {
        Ok(serde_json::from_slice(&self.ask("/figures", None).await?)?)
    }
}

/// So many events a second, each of them in its place in the ledger before the next is sent.
async fn publish(
    mut door: Door,
    truth: Arc<Truth>,
    phase: watch::Receiver<Phase>,
    options: Options,
) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(options.seed ^ 1);
    let began = Instant::now();
    for count in 0.. {
        if *phase.borrow() != Phase::Running {
            break;
        }
        paced(began, count, options.events).await;
        let number = truth.ledger().tip() + 1;
        let (order, what) = draw(&mut rng, number, &truth);
        let at = String::from_utf8(door.ask("/order", Some(serde_json::to_vec(&order)?)).await?.into())?;
        truth.appended(at.parse()?, what);
    }
    Ok(())
}

fn draw(rng: &mut fastrand::Rng, number: u64, truth: &Truth) -> (Order, What) {
    let said = |channel: String, pad| {
        let order = Order::Message { channel: channel.clone(), number, pad };
        (order, What::Message { channel, number })
    };
    let stale = |audience: String| {
        (Order::Key { audience: audience.clone(), number }, What::Key { audience, number })
    };
    match rng.u32(0..1000) {
        0..20 => said("news".into(), rng.usize(..500)),
        20..40 => said("board".into(), rng.usize(..500)),
        40..60 => stale("everyone".into()),
        60..160 => stale(format!("team:{}", rng.u32(..TEAMS))),
        160..300 => stale(format!("user:{}", rng.u32(..USERS))),
        300..302 => {
            let user = rng.u32(..USERS);
            truth.changing(user);
            let version = truth.ledger().versions(Some(user)).1;
            (Order::Regrant { user, version }, What::Regrant { user })
        }
        // Few rooms are busy, so that their history runs over within the minute that it is kept.
        302..500 => said(format!("room:{}", rng.u32(..4)), rng.usize(..2000)),
        _ => said(format!("room:{}", rng.u32(..ROOMS)), rng.usize(..2000)),
    }
}

fn report(
    began: Instant,
    resident: &[u64],
    figures: &Figures,
    truth: &Truth,
    tally: &Tally,
    violations: u64,
) {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
    println!(
        "{:4} s: {:.1} MiB, {} sessions, {} subscriptions, {} topics, {} KiB retained; {} events, {} streams \
         ({} resumed, {} lies, {} stalls), {} deliveries, {} gaps, {} byes, {violations} violations",
        began.elapsed().as_secs(),
        resident.last().copied().unwrap_or_default() as f64 / 1024.0,
        figures.sessions,
        figures.subscriptions,
        figures.topics,
        figures.retained_bytes >> 10,
        truth.ledger().tip(),
        of(&tally.streams),
        of(&tally.resumed),
        of(&tally.lies),
        of(&tally.stalls),
        of(&tally.deliveries),
        of(&tally.gaps),
        of(&tally.byes),
    );
}

/// With everyone gone, no session and no place in a list is left.
async fn left_nothing(door: &mut Door) -> Result<bool, Failure> {
    let until = Instant::now() + GRACE;
    loop {
        let figures = door.figures().await?;
        if figures.sessions == 0 && figures.subscriptions == 0 {
            return Ok(true);
        }
        if Instant::now() > until {
            println!("left behind: {figures:?}");
            return Ok(false);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the last third after the warm-up holds what the first does.
fn is_flat(resident: &[u64]) -> bool {
    if resident.len() < 300 {
        println!("memory: a run of under 300 s is all warm-up");
        return true;
    }
    let warm = &resident[(resident.len() / 3).min(150)..];
    let median = |samples: &[u64]| {
        let mut samples = samples.to_vec();
        samples.sort_unstable();
        samples.get(samples.len() / 2).copied().unwrap_or_default() as f64 / 1024.0
    };
    if warm.contains(&0) {
        println!("memory: it cannot be told here");
        return false;
    }
    let (first, last) = (median(&warm[..warm.len() / 3]), median(&warm[warm.len() - warm.len() / 3..]));
    println!(
        "memory: {first:.1} MiB in the first third, {last:.1} MiB in the last, ratio {:.3}",
        last / first
    );
    last <= first * GROWTH
}
