//! [`Chromium`]: a headless browser, and its tabs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::wd::WindowHandle;
use fantoccini::{ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

use crate::soon;

const MISSING: &str = "chromium and its chromedriver are needed: scripts/test.sh installs them";

/// Opens an `EventSource` of the test's own, and keeps what it hears until it is asked for.
const LISTEN: &str = r#"
    window.heard = [];
    const source = new EventSource(arguments[0]);
    for (const name of ["hello", "revalidate", "message", "gap", "bye"]) {
        source.addEventListener(name, ({ data }) =>
            heard.push({ event: name, data: JSON.parse(data) }));
    }
    source.onerror = () =>
        heard.push({ over: source.readyState === EventSource.CLOSED ? "for good" : "for now" });
"#;

/// A browser of its own, with an empty profile. Dropping it ends it.
#[derive(Debug)]
pub struct Chromium {
    client: fantoccini::Client,
    /// Held while a tab that listens is asked: there are several, and one is in front.
    turn: Arc<Mutex<()>>,
    // After the client: the driver ends the browser.
    _driver: Driver,
}

#[derive(Debug)]
struct Driver {
    process: Child,
    port: u16,
}

/// A tab with the examples' page. One tab is asked at a time.
#[derive(Debug)]
pub struct Tab<'a> {
    client: &'a fantoccini::Client,
    window: WindowHandle,
}

impl Chromium {
    /// Starts it.
    pub async fn start() -> Self {
        let driver = Driver::start().await;
        let options = json!({
            "goog:chromeOptions": {
                // No sandbox: it does not start as root, which containers are. The pages are ours.
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            }
        });
        let Value::Object(options) = options else { unreachable!() };
        let url = format!("http://127.0.0.1:{}", driver.port);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = soon("chromium to start", builder.capabilities(options).connect(&url)).await;
        let client = client.unwrap_or_else(|error| panic!("{MISSING}: {error}"));
        Chromium { client, turn: Arc::default(), _driver: driver }
    }

    /// Opens a page in a tab of its own, and waits until its stream is live.
    pub async fn open(&self, url: &str) -> Tab<'_> {
        let window = self.client.new_window(true).await.expect("a browser has tabs").handle;
        let tab = Tab { client: &self.client, window };
        tab.switch().await;
        self.client.goto(url).await.expect("the page loads");
        tab.run("window.sameDocument = true").await;
        tab.is("open").await;
        tab
    }

    /// Opens a stream from a page of its origin that has none itself, and returns what its `EventSource` hears.
    /// A browser whose tabs listen is used for nothing else.
    pub async fn listen(&self, page: &str, stream: &str) -> mpsc::UnboundedReceiver<Value> {
        let (tell, heard) = mpsc::unbounded_channel();
        let (client, turn) = (self.client.clone(), self.turn.clone());
        let first = turn.lock().await;
        let window = client.new_window(true).await.expect("a browser has tabs").handle;
        client.switch_to_window(window.clone()).await.expect("the tab is open");
        client.goto(page).await.expect("the page loads");
        client.execute(LISTEN, vec![json!(stream)]).await.expect("a page may listen");
        drop(first);
        tokio::spawn(async move {
            while !tell.is_closed() {
                let this = turn.lock().await;
                // It fails when the browser ends, and with it the test.
                let Ok(()) = client.switch_to_window(window.clone()).await else { return };
                let Ok(heard) = client.execute("return heard.splice(0)", Vec::new()).await else { return };
                drop(this);
                for one in heard.as_array().into_iter().flatten() {
                    let _ = tell.send(one.clone());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        heard
    }
}

impl Tab<'_> {
    /// The posts it shows.
    pub async fn posts(&self) -> Vec<String> {
        self.texts("#posts li").await
    }

    /// What its stream said, the newest first.
    pub async fn log(&self) -> String {
        self.texts("#log li").await.join("\n")
    }

    /// Whether the page is the one that was opened, not loaded again.
    pub async fn is_the_same_document(&self) -> bool {
        self.run("return window.sameDocument === true").await == json!(true)
    }

    /// Waits until the page says this of its stream: `open`, `waiting`, …
    pub async fn is(&self, state: &str) {
        crate::eventually("the state of the stream", state.to_owned(), async || self.state().await).await;
    }

    /// Waits until the page says that its stream is down, between two attempts or in one.
    pub async fn is_down(&self) {
        let down = async || ["waiting", "connecting"].contains(&self.state().await.as_str());
        crate::eventually("the stream to be down", true, down).await;
    }

    /// What the page says of its stream.
    pub async fn state(&self) -> String {
        self.texts("#state").await.concat()
    }

    /// Waits until this stands in its log.
    pub async fn logs(&self, text: &str) {
        crate::eventually(text, true, async || self.log().await.contains(text)).await;
    }

    /// Waits until it shows these posts.
    pub async fn shows(&self, posts: &[&str]) {
        let expected: Vec<_> = posts.iter().map(ToString::to_string).collect();
        crate::eventually("the list of posts", expected, async || self.posts().await).await;
    }

    /// Fills in the form that writes to `url` and sends it, as a user does.
    pub async fn send(&self, url: &str, text: &str) {
        let input = self.find(&format!("form[data-url='{url}'] input")).await;
        input.send_keys(text).await.expect("one can type in it");
        self.find(&format!("form[data-url='{url}'] button")).await.click().await.expect("one can press it");
    }

    /// Chooses who the user is, and waits for the page and the stream of that user.
    pub async fn sign_in(&self, user: &str) {
        self.find("#user").await.select_by_label(user).await.expect("the demo knows them");
        crate::eventually("another document", false, async || self.is_the_same_document().await).await;
        self.run("window.sameDocument = true").await;
        self.is("open").await;
    }

    async fn find(&self, selector: &str) -> Element {
        self.switch().await;
        self.client.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    async fn texts(&self, selector: &str) -> Vec<String> {
        let look =
            format!("return [...document.querySelectorAll(\"{selector}\")].map((one) => one.textContent)");
        serde_json::from_value(self.run(&look).await).expect("texts are strings")
    }

    async fn run(&self, script: &str) -> Value {
        self.switch().await;
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    async fn switch(&self) {
        self.client.switch_to_window(self.window.clone()).await.expect("the tab is open");
    }
}

impl Driver {
    async fn start() -> Self {
        let started = async {
            loop {
                if let Some(driver) = Self::try_start().await {
                    return driver;
                }
            }
        };
        soon("chromedriver to start", started).await
    }

    /// `--port=0` is any port that is free for IPv6; where somebody has it for IPv4, it ends.
    async fn try_start() -> Option<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{MISSING}: {error}"));
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.expect("it is text") {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let port = port.trim_end_matches('.').parse().expect("a port is a number");
                return Some(Driver { process, port });
            }
            said.push(line);
        }
        let taken = said.iter().any(|line| line.contains("port not available"));
        assert!(taken, "chromedriver ended: {said:#?}");
        None
    }
}

impl Drop for Driver {
    /// Asks it to end its browser too; killed, it would leave that behind.
    fn drop(&mut self) {
        let ask = || -> std::io::Result<()> {
            let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            connection.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
            connection.read_to_end(&mut Vec::new())?;
            Ok(())
        };
        if let Err(error) = ask() {
            eprintln!("chromedriver {:?} did not end: {error}", self.process.id());
        }
    }
}
