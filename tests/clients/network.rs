//! Where the tracker and the clients of one test live.
//!
//! Owns: the three addresses of a test, and the network namespace of those tests that cannot use the loopback addresses:
//! Transmission takes no peer from 127.0.0.0/8 or ::1. Their addresses come from the ranges for benchmarks (RFC 2544) and for
//! documentation (RFC 3849), so they collide with nobody's network even if one leaks.
//!
//! Such a test runs itself again under `unshare`, in a network namespace and a process namespace. Both belong to that process:
//! when it ends, however it ends, the kernel takes the addresses back and kills the clients. Nothing has a name, so nothing is
//! left over. Needs root, or a kernel that lets everybody make user namespaces.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use crate::support::process::{Running, program};

/// Set, to anything, for the second run of a test.
const INSIDE: &str = "ANNOUNCED_TEST_IS_APART";

/// More than the one wait that fails, so that the second run can say what it was.
const SECOND_RUN_MAX: Duration = Duration::from_secs(60);

/// The addresses of one test.
pub(crate) struct Network {
    /// Where the tracker listens.
    pub(crate) tracker: IpAddr,
    /// Where the client that has the file lives.
    pub(crate) seeder: IpAddr,
    /// Where the client that wants the file lives.
    pub(crate) leecher: IpAddr,
}

/// The loopback interface: all of 127.0.0.0/8 is local.
pub(crate) const LOOPBACK_V4: Network = Network { tracker: v4(127, 0, 1), seeder: v4(127, 0, 2), leecher: v4(127, 0, 3) };

/// The loopback interface, which has one IPv6 address: the clients differ in their ports alone.
pub(crate) const LOOPBACK_V6: Network = Network { tracker: V6_LOCALHOST, seeder: V6_LOCALHOST, leecher: V6_LOCALHOST };

/// What [`apart`] gives to the loopback interface of the namespace.
pub(crate) const PRIVATE_V4: Network = Network { tracker: v4(198, 18, 1), seeder: v4(198, 18, 2), leecher: v4(198, 18, 3) };

/// The same for IPv6.
pub(crate) const PRIVATE_V6: Network = Network { tracker: v6(1), seeder: v6(2), leecher: v6(3) };

const V6_LOCALHOST: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

const fn v4(first: u8, second: u8, last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(first, second, 0, last))
}

const fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
}

/// Runs `body` in a network of its own, with the addresses of [`PRIVATE_V4`] and [`PRIVATE_V6`]. `test` is the name of the test
/// that calls, by which it is run again.
#[track_caller]
pub(crate) fn apart(test: &str, body: fn()) {
    if env::var_os(INSIDE).is_some() {
        set_up();
        return body();
    }
    let mut unshare = Command::new(program("unshare", "util-linux"));
    unshare.args(["--net", "--pid", "--fork", "--kill-child"]);
    // Root has what it takes already, and may have it where user namespaces are off.
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg(env::current_exe().expect("a test has a path")).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let mut again = Running::start(unshare);
    let status = again.wait_exit(SECOND_RUN_MAX);
    assert!(
        status.success() && again.transcript().contains("1 passed"),
        "{test} failed in its network namespace. If unshare was refused: Transmission takes no peers from loopback addresses, so \
         this test makes a network of its own; run it as root (CAP_SYS_ADMIN) or allow user namespaces",
    );
}

/// The user's id is that of the process, which owns its directory in /proc.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A new network namespace has a loopback interface that is down, and nothing else.
fn set_up() {
    ip(&["link", "set", "lo", "up"]);
    for network in [PRIVATE_V4, PRIVATE_V6] {
        for address in [network.tracker, network.seeder, network.leecher] {
            // Without duplicate address detection, which keeps an IPv6 address from use for a second.
            let flags: &[&str] = if address.is_ipv6() { &["nodad"] } else { &[] };
            ip(&[&["addr", "add", &address.to_string(), "dev", "lo"], flags].concat());
        }
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new(program("ip", "iproute2")).args(arguments).status().expect("ip can be run");
    assert!(status.success(), "ip {arguments:?} ended with {status}");
}
