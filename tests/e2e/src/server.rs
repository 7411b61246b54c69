//! [`Server`]: an example, built and run as its users do.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::soon;

/// Which example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// `cargo run --example axum`
    Axum,
    /// `cargo run -p example-hyper --example hyper`
    Hyper,
    /// `cargo run -p example-poem --example poem`
    Poem,
    /// `cargo run -p example-salvo --example salvo`
    Salvo,
    /// `cargo run -p example-warp --example warp`
    Warp,
    /// `cargo run -p example-metrics --example metrics`: no demo app, so it keeps the demo's promises to nobody.
    Metrics,
    /// `cargo run -p example-hub --example hub`: the service alone, not the demo.
    Hub,
    /// `cargo run -p example-fanout --example fanout`, fan-out alone, on hyper.
    Fanout,
    /// … and with `flat`.
    FanoutFlat,
    /// … and with `axum`.
    FanoutAxum,
}

impl Example {
    /// Every one that serves the demo app.
    pub const ALL: [Example; 5] =
        [Example::Axum, Example::Hyper, Example::Poem, Example::Salvo, Example::Warp];

    /// What cargo is told to build, as the README tells its readers.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Example::Axum => &["--example", "axum"],
            Example::Hyper => &["-p", "example-hyper", "--example", "hyper"],
            Example::Poem => &["-p", "example-poem", "--example", "poem"],
            Example::Salvo => &["-p", "example-salvo", "--example", "salvo"],
            Example::Warp => &["-p", "example-warp", "--example", "warp"],
            Example::Metrics => &["-p", "example-metrics", "--example", "metrics"],
            Example::Hub => &["-p", "example-hub", "--example", "hub"],
            Example::Fanout | Example::FanoutFlat | Example::FanoutAxum => {
                &["-p", "example-fanout", "--example", "fanout"]
            }
        }
    }

    /// What it is told itself.
    fn said(self) -> &'static [&'static str] {
        match self {
            Example::FanoutFlat => &["flat"],
            Example::FanoutAxum => &["axum"],
            _ => &[],
        }
    }
}

/// A signal to a process.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// What a service manager sends.
    Term,
    /// What ctrl-c sends.
    Int,
}

/// A running example. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts the example on a free port.
    pub async fn start(example: Example) -> Self {
        Self::start_on(example, 0).await
    }

    /// Starts the example on this port.
    pub async fn start_on(example: Example, port: u16) -> Self {
        Self::start_with(example, &[("PORT", &port.to_string())]).await
    }

    /// Starts the example with these variables.
    pub async fn start_with(example: Example, variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(executable(example))
            .args(example.said())
            .env("PORT", "0")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the example was just built");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = soon("the example's first line", lines.next_line()).await.expect("it is text");
        let line = line.expect("the example ended before it listened");
        let port = line.strip_prefix("listening on http://127.0.0.1:").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the first line was {line:?}"));
        Server { process, port }
    }

    /// Starts what does not start with these variables: how it ended, and what it said.
    pub async fn refused(example: Example, variables: &[(&str, &str)]) -> (ExitStatus, String) {
        let mut process = Command::new(executable(example));
        process.args(example.said()).env("PORT", "0").envs(variables.iter().copied()).kill_on_drop(true);
        let output = soon("the example to end", process.output()).await.expect("the example was just built");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many sockets it holds open, the one that it listens on among them.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn sockets(&self) -> usize {
        let pid = self.process.id().expect("it still runs");
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it still runs");
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// `kill -9`
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it still runs");
    }

    /// Sends a signal and waits for the end.
    pub async fn end(mut self, signal: Signal) -> ExitStatus {
        let pid = self.process.id().expect("it still runs");
        let signal = match signal {
            Signal::Term => "TERM",
            Signal::Int => "INT",
        };
        // The shell's own `kill`: there is no safe one in std.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {pid}")).status().await;
        assert!(sent.expect("there is a shell").success());
        soon("the example to end", self.process.wait()).await.expect("it was not waited for before")
    }
}

const EXAMPLES: usize = Example::FanoutAxum as usize + 1;

/// Builds the example, and asks cargo where it is.
fn executable(example: Example) -> &'static PathBuf {
    static BUILT: [OnceLock<PathBuf>; EXAMPLES] = [const { OnceLock::new() }; EXAMPLES];
    BUILT[example as usize].get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = std::process::Command::new(cargo)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
            .args(example.arguments())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs this test");
        assert!(output.status.success(), "{example:?} does not build");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names what it built")
    })
}
