//! aria2, driven by its command line and signals, read from its standard output.
//!
//! Owns: the options that leave it nothing but the tracker to find peers with. It asks the tracker
//! again after `min interval`, not after `interval`, so a test sees many regular updates from it. A
//! seeder looks every ten seconds at whom it unchokes: a download from it takes that long, and no
//! option changes it.

use std::process::Command;

use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::process::{Running, command, program};
use crate::{Client, Job};

/// aria2 takes one of these that is free; it has no port 0.
const PORTS: &str = "--listen-port=20000-29999";

struct Aria2(Running);

/// Starts aria2; it checks what is in the directory and downloads the rest.
pub(crate) fn start(job: &Job<'_>) -> Box<dyn Client> {
    Box::new(Aria2(Running::start(command_line(job, &["--enable-dht=false"]))))
}

/// The same for a tracker over UDP: without its DHT aria2 says "udp is not supported yet". It knows
/// no node of the DHT, so it finds nobody there.
pub(crate) fn start_over_udp(job: &Job<'_>) -> Box<dyn Client> {
    let routing_table = format!("--dht-file-path={}", job.directory.join("dht.dat").display());
    let dht = ["--enable-dht=true", "--dht-listen-port=20000-29999", &routing_table];
    Box::new(Aria2(Running::start(command_line(job, &dht))))
}

fn command_line(job: &Job<'_>, dht: &[&str]) -> Command {
    let mut aria2 = command(&program("aria2c", "aria2"), job.directory);
    aria2.args([
        "--no-conf=true",
        "--enable-color=false",
        "--show-console-readout=false",
        "--summary-interval=0",
    ]);
    aria2.args(dht);
    aria2.args(["--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false"]);
    // Seeds until it is told to end.
    aria2.args(["--check-integrity=true", "--seed-ratio=0.0", PORTS]);
    aria2.arg(format!("--on-bt-download-complete={}", program("echo", "coreutils").display()));
    if job.host.ip.is_ipv4() {
        // Where its connections come from, and so the address that the tracker sees. An IPv6
        // address here would make it try every port on IPv4 before it listens on IPv6
        // alone; from ::1 it needs none.
        aria2.args(["--disable-ipv6=true", &format!("--interface={}", job.host.ip)]);
    }
    aria2.arg(job.torrent);
    aria2
}

impl Client for Aria2 {
    fn wait_complete(&mut self) {
        // A leecher's hook echoes the download's id, the number of files and the path; a seeder
        // finds everything in its place.
        let echoed = |line: &str| line.split(' ').nth(1) == Some("1");
        let verified = |line: &str| line.contains("Verification finished successfully");
        self.0.wait_line("that it is complete", |line| {
            (echoed(line) || verified(line)).then_some(())
        });
    }

    fn leave(&mut self) {
        // On SIGTERM it would drop everything and send no `stopped`.
        self.0.signal(Signal::INT);
    }

    fn end(mut self: Box<Self>) {
        let status = self.0.wait_exit(PATIENCE);
        assert!(status.success(), "aria2 ended with {status}");
    }
}
