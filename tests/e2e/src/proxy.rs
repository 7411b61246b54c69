//! [`Proxy`]: nginx and HAProxy in front of an app, as they are configured at least.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::{Client, soon};

/// Which proxy, and what is configured beyond the least.
#[derive(Debug, Clone, Copy)]
pub enum Proxying<'a> {
    /// `proxy_pass` alone, and these directives in its `location`.
    Nginx(&'a str),
    /// The timeouts of Debian's own configuration, and these lines of `defaults`, of which the last wins.
    Haproxy(&'a str),
}

/// A running proxy. Dropping it kills it.
#[derive(Debug)]
pub struct Proxy {
    process: Child,
    port: u16,
    _home: Home,
}

/// A directory of its own.
#[derive(Debug)]
struct Home(PathBuf);

impl Proxy {
    /// Starts a proxy of this port.
    pub async fn start(proxying: Proxying<'_>, upstream: u16) -> Self {
        loop {
            // Neither can listen on "any", so somebody may take the port in between.
            let free = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
            let port = free.local_addr().expect("it is bound").port();
            drop(free);
            if let Some(proxy) = Self::try_start(proxying, port, upstream).await {
                return proxy;
            }
        }
    }

    /// Starts a proxy on this port, where one was before.
    pub async fn start_on(proxying: Proxying<'_>, port: u16, upstream: u16) -> Self {
        Self::try_start(proxying, port, upstream).await.expect("the port is free again")
    }

    /// None where the port is taken.
    async fn try_start(proxying: Proxying<'_>, port: u16, upstream: u16) -> Option<Self> {
        let home = Home::new();
        let config = home.0.join("config");
        std::fs::write(&config, proxying.config(port, upstream, &home.0)).expect("it can be written");
        let mut command = proxying.command(&config, &home.0);
        let said = std::fs::File::create(home.0.join("stderr")).expect("it can be written");
        let mut process =
            command.stdin(Stdio::null()).stderr(said).kill_on_drop(true).spawn().expect("it can be run");
        let listens = async {
            while process.try_wait().expect("it is a child").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let said = std::fs::read_to_string(home.0.join("stderr")).unwrap_or_default();
            assert!(said.contains("in use"), "{proxying:?} ended: {said}");
            false
        };
        let listens = soon("the proxy to listen", listens).await;
        listens.then_some(Proxy { process, port, _home: home })
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client of what is behind it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::of(format!("http://127.0.0.1:{}", self.port))
    }

    /// `kill -9`
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it still runs");
    }

    /// Tells it to end once its connections have.
    pub async fn soft_stop(&self) {
        let pid = self.process.id().expect("it still runs");
        // The shell's own `kill`: there is no safe one in std.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -USR1 {pid}")).status().await;
        assert!(sent.expect("there is a shell").success());
    }

    /// Waits for its end, which was asked for.
    pub async fn ended(mut self) -> ExitStatus {
        soon("the proxy to end", self.process.wait()).await.expect("it was not waited for before")
    }
}

impl Proxying<'_> {
    fn config(self, port: u16, upstream: u16, home: &Path) -> String {
        let home = home.display();
        match self {
            Proxying::Nginx(more) => format!(
                "daemon off;\nmaster_process off;\npid {home}/pid;\nevents {{}}\n\
                 http {{\n\
                   access_log off;\n\
                   client_body_temp_path {home}/body;\nproxy_temp_path {home}/proxy;\n\
                   fastcgi_temp_path {home}/fastcgi;\nuwsgi_temp_path {home}/uwsgi;\nscgi_temp_path {home}/scgi;\n\
                   server {{\n\
                     listen 127.0.0.1:{port};\n\
                     location / {{\nproxy_pass http://127.0.0.1:{upstream};\n{more}\n}}\n\
                   }}\n\
                 }}\n"
            ),
            Proxying::Haproxy(more) => format!(
                "defaults\nmode http\ntimeout connect 5s\ntimeout client 50s\ntimeout server 50s\n{more}\n\
                 frontend web\nbind 127.0.0.1:{port}\ndefault_backend app\n\
                 backend app\nserver app 127.0.0.1:{upstream}\n"
            ),
        }
    }

    fn command(self, config: &Path, home: &Path) -> Command {
        match self {
            Proxying::Nginx(_) => {
                let mut nginx = Command::new(executable("nginx"));
                nginx.arg("-p").arg(home).args(["-e", "stderr", "-c"]).arg(config);
                nginx
            }
            Proxying::Haproxy(_) => {
                let mut haproxy = Command::new(executable("haproxy"));
                haproxy.args(["-db", "-q", "-f"]).arg(config);
                haproxy
            }
        }
    }
}

impl Home {
    fn new() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("e2e-proxy-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&home).expect("there is a temporary directory");
        Home(home)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where it is installed; else where `scripts/test.sh` unpacked it, which starts no service.
fn executable(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debian/usr/sbin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), unpacked]);
    let found = places.map(|place| place.join(name)).find(|executable| executable.is_file());
    found.unwrap_or_else(|| panic!("{name} is needed; `scripts/test.sh` fetches it"))
}
