//! Transmission's daemon, driven over its RPC by `transmission-remote`.
//!
//! Owns: a daemon whose settings leave it nothing but the tracker to find peers with. It takes no
//! peer from a loopback address, so its hosts have a network namespace of their own, which has room
//! for one daemon: the ports are its defaults, and its RPC is on 127.0.0.1. It tells a peer every
//! ten seconds at the earliest that it is interested, so a download takes that long, and no setting
//! changes it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;

use crate::network::Host;
use crate::support::process::{Running, command, program};
use crate::support::{PATIENCE, wait_until};
use crate::{Client, Job};

struct Transmission {
    daemon: Running,
    host: Host,
    home: PathBuf,
}

/// Starts a daemon, then hands it the torrent; it checks what is in the directory and downloads the
/// rest.
pub(crate) fn start(job: &Job<'_>) -> Box<dyn Client> {
    fs::write(job.directory.join("settings.json"), settings(job.host.ip))
        .expect("a temporary directory can be written to");
    let mut daemon = command(&program("transmission-daemon", "transmission-daemon"), job.directory);
    daemon.args(["--foreground", "--log-info", "--config-dir"]).arg(job.directory);
    let transmission = Transmission {
        daemon: Running::start(daemon),
        host: job.host,
        home: job.directory.to_owned(),
    };
    let takes = || {
        transmission
            .remote(&["--add".as_ref(), job.torrent, "--download-dir".as_ref(), job.directory])
            .status
            .success()
    };
    wait_until(PATIENCE, "Transmission takes the torrent", takes);
    Box::new(transmission)
}

/// Listens on, and announces from, one address of the tracker's family.
fn settings(ip: IpAddr) -> String {
    let family = if ip.is_ipv6() { "ipv6" } else { "ipv4" };
    format!(
        r#"{{
            "bind-address-{family}": "{ip}",
            "dht-enabled": false,
            "lpd-enabled": false,
            "pex-enabled": false,
            "port-forwarding-enabled": false,
            "utp-enabled": false
        }}"#
    )
}

impl Transmission {
    fn remote(&self, arguments: &[&Path]) -> Output {
        let mut remote = command(&program("transmission-remote", "transmission-cli"), &self.home);
        self.host.run(|| remote.args(arguments).output()).expect("transmission-remote can be run")
    }
}

impl Client for Transmission {
    fn wait_complete(&mut self) {
        wait_until(PATIENCE, "Transmission has the whole torrent", || {
            let info = self.remote(&["--torrent", "all", "--info"].map(Path::new)).stdout;
            String::from_utf8_lossy(&info).contains("Percent Done: 100%")
        });
    }

    fn leave(&mut self) {
        // A daemon that ends at once (3.00, on SIGTERM) loses the `stopped` of a running torrent.
        let stop = self.remote(&["--torrent", "all", "--stop"].map(Path::new));
        assert!(stop.status.success(), "transmission-remote --stop: {stop:?}");
    }

    fn end(mut self: Box<Self>) {
        self.daemon.signal(Signal::TERM);
        let status = self.daemon.wait_exit(PATIENCE);
        assert!(status.success(), "Transmission ended with {status}");
    }
}
