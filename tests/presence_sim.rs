//! Presence over a random day: a thousand users with up to three tabs each come, reload, crash, sign out and are
//! called something else, in rooms of every size, while messages pass. What each tab shows is folded as a client
//! folds it, and compared with a model that knows nothing but which sessions were open when.
//!
//! A failure prints its seed; `SEED=… cargo test --test presence_sim` replays it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::Visit;
use common::sse::{Frame, Parser};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower_revalidate::{Channel, Grant, Hub, SessionInfo, SseBody};

const USERS: usize = 1000;
const TABS: usize = 3;
const STEPS: usize = 6_000;
/// In percent, how likely a tab looks at each room: two crowds, some around the size of one, and small ones.
const ROOMS: [u32; 10] = [60, 35, 8, 7, 6, 3, 2, 1, 1, 1];
/// A user that comes back before this was not away, and one that comes back after that was. In between it depends
/// on the hub's tick, so that nobody comes back then.
const GRACE: std::ops::Range<Duration> = Duration::from_millis(4_950)..Duration::from_millis(6_100);
/// How often crowds are told.
const TICK: Duration = Duration::from_secs(1);
/// Until a stream that nobody polls was freed, and its user left.
const QUIET: Duration = Duration::from_secs(120);

/// A user in a room, by the sessions that were open.
#[derive(Default, Clone)]
struct Present {
    sessions: usize,
    alone_since: Option<Instant>,
    info: Value,
}

/// The truth.
#[derive(Default)]
struct Model {
    /// What each user is called now.
    names: HashMap<String, Value>,
    rooms: HashMap<String, BTreeMap<String, Present>>,
    /// How often somebody joined a room, left it or was called something else there.
    changes: HashMap<String, u64>,
}

impl Model {
    /// Those who left for sure do.
    fn settle(&mut self, room: &str) {
        let members = self.rooms.entry(room.to_owned()).or_default();
        let before = members.len();
        members.retain(|_, member| member.alone_since.is_none_or(|since| since.elapsed() < GRACE.end));
        *self.changes.entry(room.to_owned()).or_default() += (before - members.len()) as u64;
    }

    fn opened(&mut self, info: &SessionInfo) {
        let Some(user) = info.identity.as_deref() else { return };
        let name = self.names[user].clone();
        for room in &info.presence {
            self.settle(room.as_str());
            let members = self.rooms.get_mut(room.as_str()).unwrap();
            let is_news = members.get(user).is_none_or(|member| member.info != name);
            *self.changes.get_mut(room.as_str()).unwrap() += u64::from(is_news);
            let member = members.entry(user.to_owned()).or_default();
            member.sessions += 1;
            (member.alone_since, member.info) = (None, name.clone());
        }
    }

    fn closed(&mut self, info: &SessionInfo) {
        let Some(user) = info.identity.as_deref() else { return };
        for room in &info.presence {
            let member = self.rooms.get_mut(room.as_str()).and_then(|members| members.get_mut(user)).unwrap();
            member.sessions -= 1;
            member.alone_since = (member.sessions == 0).then(Instant::now);
        }
    }

    fn signed_out(&mut self, user: &str) {
        for (room, members) in &mut self.rooms {
            if members.get(user).is_some_and(|member| member.sessions == 0) {
                members.remove(user);
                *self.changes.get_mut(room).unwrap() += 1;
            }
        }
    }

    /// Whether it is certain if the user is still there.
    fn is_certain(&self, user: &str) -> bool {
        let members = self.rooms.values().filter_map(|members| members.get(user));
        members.filter_map(|member| member.alone_since).all(|since| !GRACE.contains(&since.elapsed()))
    }
}

/// A room as a client shows it.
#[derive(Default)]
struct Shown {
    users: BTreeMap<String, Value>,
    count: usize,
    more: bool,
    told: u64,
    /// The room's changes when the tab opened.
    changes_before: u64,
}

/// What a tab knows.
#[derive(Default)]
struct Screen {
    rooms: HashMap<String, Shown>,
    cursor: String,
    gaps: usize,
    switches: usize,
    is_fast: bool,
}

impl Screen {
    fn take(&mut self, frame: &Frame, page: usize) {
        if frame.name == "gap" {
            self.gaps += 1;
        }
        if frame.name != "message" {
            return;
        }
        let envelope = frame.json();
        let (event, data) = (envelope["event"].as_str().unwrap(), &envelope["data"]);
        if !event.starts_with("presence") {
            return;
        }
        assert_eq!(frame.id, None);
        let room =
            self.rooms.get_mut(envelope["channel"].as_str().unwrap()).expect("a room that was asked for");
        room.told += 1;
        room.count = usize::try_from(data["count"].as_u64().unwrap()).unwrap();
        let of = |list: &str| data[list].as_array().cloned().unwrap_or_default();
        if event == "presence" {
            self.switches += usize::from(room.told > 1 && room.more != (data["more"] == true));
            room.users.clear();
            room.more = data["more"] == true;
            assert_eq!(of("users").len(), if room.more { page } else { room.count }, "{data}");
        } else if !room.more {
            let before = room.users.clone();
            assert_ne!(room.told, 1, "the list comes first");
            let is_back =
                of("joined").iter().any(|user| before.contains_key(user["userId"].as_str().unwrap()));
            assert!(!(is_back && self.is_fast), "who is there joined: {data}");
            fold(room, &of);
            assert!(is_back || before != room.users || !self.is_fast, "told of nothing: {data}");
            return;
        } else {
            assert_eq!(data, &json!({"count": room.count}), "of a crowd a number");
        }
        fold(room, &of);
    }
}

fn fold(room: &mut Shown, of: &impl Fn(&str) -> Vec<Value>) {
    for user in ["users", "joined", "updated"].into_iter().flat_map(of) {
        room.users.insert(user["userId"].as_str().unwrap().to_owned(), user);
    }
    for left in of("left") {
        room.users.remove(left.as_str().unwrap());
    }
}

/// A tab, before it is open.
#[derive(Clone)]
struct Address {
    user: usize,
    rooms: Vec<String>,
    cursor: String,
}

struct Tab {
    address: Address,
    screen: Arc<Mutex<Screen>>,
    freeze: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Tab {
    /// The window closes, or its machine ceases to be.
    fn close(self) -> Address {
        self.task.abort();
        Address { cursor: self.screen.lock().cursor.clone(), ..self.address }
    }
}

struct World {
    hub: Hub,
    model: Arc<Mutex<Model>>,
    page: usize,
    tabs: Vec<Vec<Tab>>,
    /// Open, as far as the server can tell, and read by nobody.
    frozen: Vec<JoinHandle<()>>,
    /// Tabs that open again, and when.
    returning: Vec<(Instant, Address)>,
    rng: fastrand::Rng,
    gaps: usize,
    switches: usize,
}

impl World {
    fn new(mut rng: fastrand::Rng) -> Self {
        let model = Arc::new(Mutex::new(Model::default()));
        let page = rng.usize(20..60);
        let (opens, closes) = (model.clone(), model.clone());
        let hub = Hub::builder()
            .seed(rng.u64(..))
            .presence_page(page)
            // Little is kept and little written at once, so that slow tabs miss things and lag.
            .retain_channel_bytes(2048)
            .max_payload_bytes(1024)
            .on_connect(move |info| opens.lock().opened(info))
            .on_disconnect(move |info, _| closes.lock().closed(info))
            .build()
            .unwrap();
        let tabs = (0..USERS).map(|_| Vec::new()).collect();
        let (frozen, returning) = (Vec::new(), Vec::new());
        World { hub, model, page, tabs, frozen, returning, rng, gaps: 0, switches: 0 }
    }

    async fn reopen(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.returning).into_iter().partition(|(at, _)| *at <= now);
        self.returning = later;
        for (_, address) in due {
            self.open(address).await;
        }
    }

    async fn step(&mut self) {
        let user = self.rng.usize(0..USERS);
        let open = self.tabs[user].len();
        let tab = (open > 0).then(|| self.rng.usize(0..open));
        match (self.rng.u32(0..100), tab) {
            (0..40, _) if open < TABS => {
                let rooms = ROOMS.iter().enumerate().filter(|(_, likely)| self.rng.u32(0..100) < **likely);
                let rooms = rooms.map(|(room, _)| format!("room:{room}")).collect();
                // Since its last tab it may be called something else.
                if self.rng.u32(0..10) == 0 {
                    self.rename(user);
                }
                self.open(Address { user, rooms, cursor: String::new() }).await;
            }
            (40..60, Some(tab)) => drop(self.tabs[user].swap_remove(tab).close()),
            (60..78, Some(tab)) => {
                let address = self.tabs[user].swap_remove(tab).close();
                self.come_back(address);
            }
            (78..81, Some(tab)) => {
                let tab = self.tabs[user].swap_remove(tab);
                tab.freeze.notify_one();
                self.frozen.push(tab.task);
            }
            (81..84, _) => self.sign_out(user).await,
            (84..89, _) => {
                if self.rng.bool() {
                    self.rename(user);
                }
                self.hub.regrant(name_of(user)).await.unwrap();
                let tabs: Vec<_> = self.tabs[user].drain(..).map(Tab::close).collect();
                tabs.into_iter().for_each(|address| self.come_back(address));
            }
            (89..98, _) => {
                let room = ("room", self.rng.usize(0..ROOMS.len()));
                let text = "x".repeat(self.rng.usize(0..1000));
                self.hub.channel(room).publish("said", &text).await.unwrap();
            }
            (98.., _) => _ = self.hub.revalidate("posts").await.unwrap(),
            _ => {}
        }
        let pause = self.rng.u64(0..40);
        sleep(Duration::from_millis(pause)).await;
    }

    async fn sign_out(&mut self, user: usize) {
        self.tabs[user].clear();
        self.hub.disconnect_user(name_of(user)).await.unwrap();
        self.model.lock().signed_out(&name_of(user));
    }

    fn rename(&mut self, user: usize) {
        let name = json!({"name": self.rng.u32(..)});
        self.model.lock().names.insert(name_of(user), name);
    }

    /// Reloads, sooner than anybody would notice.
    fn come_back(&mut self, address: Address) {
        let away = Duration::from_millis(self.rng.u64(0..4000));
        self.returning.push((Instant::now() + away, address));
    }

    async fn open(&mut self, address: Address) {
        let user = name_of(address.user);
        self.model.lock().names.entry(user.clone()).or_insert_with(|| json!({"name": user}));
        // What its other tabs ended with is heard before it is known how things stand.
        tokio::task::yield_now().await;
        if !self.model.lock().is_certain(&user) || self.tabs[address.user].len() == TABS {
            return;
        }
        let info = self.model.lock().names[&user].clone();
        let mut visit = Visit::of(Grant::user(&*user).info(info).follow("room:*"))
            .following(&address.rooms.join(","))
            .query(&format!("presence={}", address.rooms.join(",")));
        if !address.cursor.is_empty() {
            visit = visit.from(&address.cursor);
        }
        let body = visit.answer(&self.hub).await.into_body();
        let pace = if self.rng.u32(0..4) == 0 { self.rng.u64(500..10_000) } else { 0 };
        let mut screen = Screen { cursor: address.cursor.clone(), is_fast: pace == 0, ..Screen::default() };
        for room in &address.rooms {
            let changes_before = self.model.lock().changes[room];
            screen.rooms.insert(room.clone(), Shown { changes_before, ..Shown::default() });
        }
        let (screen, freeze) = (Arc::new(Mutex::new(screen)), Arc::new(Notify::new()));
        let reading = read(body, Duration::from_millis(pace), screen.clone(), freeze.clone(), self.page);
        let task = tokio::spawn(reading);
        self.tabs[address.user].push(Tab { address, screen, freeze, task });
    }

    /// That the hub knows the truth, and so does every tab, or those that read as fast as they can.
    fn check(&mut self, slow_ones: bool) {
        let mut model = self.model.lock();
        let rooms: Vec<_> = model.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| model.settle(room));
        let mut crowds = 0;
        let mut truths = HashMap::new();
        for room in rooms {
            let members = &model.rooms[&room];
            assert!(members.values().all(|member| member.sessions > 0));
            let truth: BTreeMap<_, _> = members
                .iter()
                .map(|(id, member)| (id.clone(), json!({"userId": id, "info": member.info})))
                .collect();
            let page = self.hub.presence(Channel::parse(&room).unwrap()).unwrap().page(None, usize::MAX);
            let users: Vec<_> = page.users.iter().map(|user| serde_json::to_value(user).unwrap()).collect();
            assert_eq!(users, truth.values().cloned().collect::<Vec<_>>(), "{room}");
            assert_eq!(page.count, truth.len());
            crowds += usize::from(truth.len() > self.page);
            truths.insert(room, truth);
        }
        assert!((1..truths.len()).contains(&crowds), "{crowds} crowds of {} rooms", truths.len());
        for tab in self.tabs.iter().flatten() {
            assert!(!tab.task.is_finished(), "a tab ended: {:?}", tab.address.rooms);
            let screen = tab.screen.lock();
            if !screen.is_fast && !slow_ones {
                continue;
            }
            for (name, room) in &screen.rooms {
                let (truth, at) = (&truths[name], format!("{} in {name}", name_of(tab.address.user)));
                assert_eq!((room.count, room.more), (truth.len(), truth.len() > self.page), "{at}");
                assert!(room.more || room.users == *truth, "{at}: {:?} is not {truth:?}", room.users);
                let changes = model.changes[name] - room.changes_before;
                assert!(room.told <= 1 + changes, "{at}: told {} times of {changes} changes", room.told);
            }
            self.gaps += screen.gaps;
            self.switches += screen.switches;
        }
    }
}

fn name_of(user: usize) -> String {
    format!("user-{user:04}")
}

/// Reads a stream as fast as it comes, or seldom, or from some moment on no more.
async fn read(
    mut body: SseBody,
    pace: Duration,
    screen: Arc<Mutex<Screen>>,
    freeze: Arc<Notify>,
    page: usize,
) {
    let mut parser =
        Parser::new(Some(&screen.lock().cursor).filter(|cursor| !cursor.is_empty()).map(|cursor| &**cursor));
    loop {
        if !pace.is_zero() {
            sleep(pace).await;
        }
        let chunk = tokio::select! {
            biased;
            () = freeze.notified() => std::future::pending().await,
            chunk = body.frame() => chunk,
        };
        let Some(chunk) = chunk else { return };
        parser.feed(&chunk.unwrap().into_data().unwrap());
        parser.raw.clear();
        let mut screen = screen.lock();
        while let Some(frame) = parser.frame() {
            screen.take(&frame, page);
        }
        screen.cursor.clone_from(&parser.last_event_id);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_random_day_everybody_knows_who_is_there() {
    let mut world = World::new(common::random());
    for _ in 0..STEPS {
        world.reopen().await;
        world.step().await;
    }
    // Those about to come back do, and those who froze are found out.
    sleep(GRACE.start).await;
    world.reopen().await;
    sleep(QUIET).await;
    world.check(true);
    // Whoever is told of nothing would hear it with its next heartbeat: by then it is too late.
    for user in 0..50 {
        world.sign_out(user).await;
    }
    sleep(TICK).await;
    world.check(false);
    let open: usize = world.tabs.iter().map(Vec::len).sum();
    assert_eq!(world.hub.stats().sessions, open, "those who froze were found out");
    let (gaps, switches, frozen) = (world.gaps, world.switches, world.frozen.len());
    println!("{open} tabs open, {gaps} gaps, {switches} switches, {frozen} frozen");
    assert!(gaps > 0 && switches > 0 && frozen > 0, "{gaps} gaps, {switches} switches, {frozen} frozen");

    let open = world.tabs.drain(..).flatten().map(|tab| tab.task);
    open.chain(world.frozen).for_each(|task| task.abort());
    sleep(GRACE.end).await;
    let nobody = world.hub.presence("room:0").unwrap().count();
    assert_eq!((nobody, world.hub.stats().sessions, world.hub.stats().subscriptions), (0, 0, 0));
}
