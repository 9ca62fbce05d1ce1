//! What a service manager is told (sd_notify(3)), by a socket that stands in for systemd's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the helpers of an integration test for production code"
)]

mod support;

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use rustix::process::Signal;

use support::PATIENCE;
use support::tracker::Tracker;

/// The service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    /// Reads on until a message has a line that begins like this; that message.
    fn wait(&self, begin: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        while Instant::now() < end {
            let mut message = [0; 4096];
            let Ok(bytes) = self.0.recv(&mut message) else { break };
            let message = String::from_utf8_lossy(&message[..bytes]).into_owned();
            if message.lines().any(|line| line.starts_with(begin)) {
                return message;
            }
            told.push(message);
        }
        panic!("nothing that begins with {begin:?}, but {told:?}");
    }
}

#[test]
fn the_service_manager_hears_of_start_life_reload_and_end() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let tracker = Tracker::start_in(home.path(), Ipv4Addr::LOCALHOST.into(), "", |command| {
        command.args(["--database", "memory"]);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    });
    manager.wait("READY=1");
    let status = manager.wait("STATUS=");
    assert_eq!(status.trim(), "STATUS=0 torrents, 0 peers");
    (0..3).for_each(|_| drop(manager.wait("WATCHDOG=1")));
    tracker.signal(Signal::HUP);
    let reloading = manager.wait("RELOADING=1");
    let has_time = reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC="));
    assert!(has_time, "systemd wants the time with it: {reloading}");
    manager.wait("READY=1");
    tracker.stop();
    manager.wait("STOPPING=1");
}
