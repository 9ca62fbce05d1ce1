//! Proxies as child processes, and the tracker behind them.
//!
//! Owns: their settings files in a directory of their own, an address for each on 127.77.0.0/16
//! that no other test has, and their orderly end: hitch has children of its own, which a SIGKILL
//! would leave behind.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::support::process::{Running, command, program};
use crate::support::{PATIENCE, wait_until};

/// What the tracker's own network, which is loopback here, is called outside.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Where Debian's package libnginx-mod-stream puts it.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A running proxy. Dropping it ends it.
pub(crate) struct Proxy {
    running: Running,
    /// Where it takes clients in.
    pub(crate) address: SocketAddr,
    _home: TempDir,
}

impl Proxy {
    /// HAProxy with `sections` of its settings file, in which `LISTEN` stands for its address.
    #[track_caller]
    pub(crate) fn haproxy(sections: &str) -> Proxy {
        let haproxy = program("haproxy", "haproxy");
        Proxy::start(sections, |home| {
            let mut command = command(&haproxy, home);
            command.args(["-db", "-f", "settings"]);
            command
        })
    }

    /// HAProxy between `LISTEN` and a tracker: `server` is what its settings say of that, beside
    /// its address, `more` are lines of their own.
    #[track_caller]
    pub(crate) fn haproxy_before(
        tracker: SocketAddr,
        mode: &str,
        server: &str,
        more: &str,
    ) -> Proxy {
        Proxy::haproxy(&format!(
            "defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 30s\n  timeout \
             server 30s\n  {more}\nlisten tracker\n  bind LISTEN\n  server tracker {tracker} \
             {server}\n"
        ))
    }

    /// nginx with the inside of its `http` block.
    #[track_caller]
    pub(crate) fn nginx(http: &str) -> Proxy {
        // Directories of its own, since the packaged ones belong to others.
        let directories: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {name};\n"))
            .collect();
        Proxy::start_nginx(&format!("http {{\naccess_log off;\n{directories}{http}\n}}\n"))
    }

    /// nginx with the inside of its `stream` block.
    #[track_caller]
    pub(crate) fn nginx_stream(stream: &str) -> Proxy {
        assert!(
            Path::new(NGINX_STREAM_MODULE).is_file(),
            "nginx's stream module is missing: install the Debian package libnginx-mod-stream"
        );
        Proxy::start_nginx(&format!(
            "load_module {NGINX_STREAM_MODULE};\nstream {{\n{stream}\n}}\n"
        ))
    }

    #[track_caller]
    fn start_nginx(blocks: &str) -> Proxy {
        let nginx = program("nginx", "nginx");
        // One process, which a SIGKILL ends whole.
        let first = "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\n";
        let settings = format!("{blocks}events {{}}\n");
        // `load_module` must come before all blocks, and may come before everything.
        Proxy::start(&format!("{first}{settings}"), |home| {
            let mut command = command(&nginx, home);
            command.arg("-p").arg(home).args(["-e", "stderr", "-c", "settings"]);
            command
        })
    }

    /// hitch: TLS outside, PROXY protocol version 2 inside.
    #[track_caller]
    pub(crate) fn hitch_before(tracker: SocketAddr) -> Proxy {
        let hitch = program("hitch", "hitch");
        // Its workers refuse to be root.
        let user = match geteuid().is_root() {
            true => "user = \"nobody\"\ngroup = \"nogroup\"\n",
            false => "",
        };
        let settings = format!(
            "frontend = {{ host = \"LISTEN_IP\" port = \"LISTEN_PORT\" }}\nbackend = \
             \"[{}]:{}\"\npem-file = \"pem\"\nwrite-proxy-v2 = on\nworkers = 1\ndaemon = \
             off\n{user}",
            tracker.ip(),
            tracker.port()
        );
        Proxy::start(&settings, |home| {
            make_certificate(home);
            let mut command = command(&hitch, home);
            command.arg("--config=settings");
            command
        })
    }

    #[track_caller]
    fn start(settings: &str, prepare: impl FnOnce(&Path) -> Command) -> Proxy {
        let home = tempfile::tempdir().expect("a temporary directory");
        let address = own_address();
        let settings = settings
            .replace("LISTEN_IP", &address.ip().to_string())
            .replace("LISTEN_PORT", &address.port().to_string())
            .replace("LISTEN", &address.to_string());
        fs::write(home.path().join("settings"), settings)
            .expect("a temporary directory can be written to");
        let running = Running::start(prepare(home.path()));
        let proxy = Proxy { running, address, _home: home };
        wait_until(PATIENCE, "the proxy listens", || TcpStream::connect(address).is_ok());
        proxy
    }

    /// Waits until it has printed `text` as many times as said.
    #[track_caller]
    pub(crate) fn wait_printed(&self, text: &str, times: usize) {
        wait_until(PATIENCE, &format!("{text:?} is printed {times} times"), || {
            self.running.transcript().matches(text).count() >= times
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.signal(Signal::TERM);
        if !std::thread::panicking() {
            self.running.wait_exit(PATIENCE);
        }
    }
}

/// An address that nobody has: every test has IP addresses of its own, so that no client's outgoing
/// connection takes the port before the proxy does.
#[track_caller]
pub(crate) fn own_address() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(1);
    let [high, low] = TAKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let ip = Ipv4Addr::new(127, 77, high, low);
    let listener = TcpListener::bind((ip, 0)).expect("a loopback address");
    listener.local_addr().expect("it is bound")
}

/// A key and a certificate that it has signed itself, in one file.
fn make_certificate(home: &Path) {
    let mut openssl = command(&program("openssl", "openssl"), home);
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    let output = openssl
        .args(["-subj", "/CN=tracker.example", "-keyout", "key", "-out", "certificate"])
        .output()
        .expect("openssl can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = |name: &str| fs::read(home.join(name)).expect("openssl has written it");
    fs::write(home.join("pem"), [file("key"), file("certificate")].concat())
        .expect("a temporary directory can be written to");
}

/// A tracker that believes 127.0.0.1, where the proxies connect from. Dropping it kills it.
pub(crate) struct Behind {
    running: Running,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _home: TempDir,
}

impl Behind {
    /// One that reads `header` of its proxies' requests.
    #[track_caller]
    pub(crate) fn header(header: &str) -> Behind {
        Behind::start("\"127.0.0.1:0\"", &format!("proxy_header = \"{header}\""))
    }

    /// One that reads the PROXY protocol, and behind it `X-Forwarded-For`.
    #[track_caller]
    pub(crate) fn preface() -> Behind {
        Behind::start("{ address = \"127.0.0.1:0\", proxy_protocol = true }", "")
    }

    #[track_caller]
    fn start(listen: &str, more: &str) -> Behind {
        let home = tempfile::tempdir().expect("a temporary directory");
        let settings = format!(
            "[server]\nworkers = 1\nlisten = [{listen}]\ntrusted_proxies = \
             [\"127.0.0.1/32\"]\n{more}\n[tracker]\npublic_address = [\"{OUTSIDE}\"]\n"
        );
        let file = home.path().join("announced.toml");
        fs::write(&file, settings).expect("a temporary directory can be written to");
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
        command.args(["--database", "memory", "--config"]).arg(file);
        let running = Running::start(command);
        let address = running
            .wait_line("where it listens", |line| line.strip_prefix("listening on ")?.parse().ok());
        Behind { running, address, _home: home }
    }

    /// Waits for a line of its log that contains `words`.
    #[track_caller]
    pub(crate) fn wait_log(&self, words: &str) {
        let what = format!("a log line with {words:?}");
        self.running.wait_log(&what, |line| line.contains(words).then_some(()));
    }

    /// All that it has printed.
    pub(crate) fn transcript(&self) -> String {
        self.running.transcript()
    }
}
