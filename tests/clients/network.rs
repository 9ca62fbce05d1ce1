//! Where the tracker and the clients of one test live.
//!
//! Owns: the three hosts of a test, and the network of those tests that cannot use the loopback
//! addresses: Transmission takes no peer from 127.0.0.0/8 or ::1. Their addresses come from the
//! ranges for benchmarks (RFC 2544) and for documentation (RFC 3849), so they collide with nobody's
//! network even if one leaks.
//!
//! Such a test runs itself again under `unshare`, in a network namespace and a process namespace.
//! There it makes a bridge, and for each host a network namespace that a veth pair joins to the
//! bridge; the test scrapes from an address on the bridge itself. All of it belongs to that second
//! process: when it ends, however it ends, the kernel kills the clients and takes the namespaces
//! back. Nothing has a name outside, so nothing is left over. Needs root, or a kernel that lets
//! everybody make user namespaces; and Linux 5.8, the first where a pidfd leads into a namespace.

use std::env;
use std::fs::{self, File};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

use crate::support::process::{Running, program};

/// Set, to anything, for the second run of a test.
const INSIDE: &str = "ANNOUNCED_TEST_IS_APART";

/// More than all waits of a run together may take on a busy machine, and so more than the one that
/// fails: the second run can say what it was.
const SECOND_RUN_MAX: Duration = Duration::from_secs(300);

/// Keeps a new namespace alive: says that `unshare` has made it, then waits for an end of input
/// that does not come.
const KEEP: &str = "echo made; read end";

/// The number of the test among its hosts, which are 1, 2 and 3. A number is the last byte of an
/// address.
const TEST: u8 = 254;

/// Where a program of the test lives.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    /// The address it listens on and connects from.
    pub(crate) ip: IpAddr,
    /// A process in the host's network namespace; `None` when that is the one of the test.
    keeper: Option<Pid>,
}

impl Host {
    const fn local(ip: IpAddr) -> Host {
        Host { ip, keeper: None }
    }

    /// Does `work` on this host, where the children that it starts then stay.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let Some(keeper) = self.keeper else { return work() };
        let home =
            File::open("/proc/thread-self/ns/net").expect("a thread has a network namespace");
        let keeper = pidfd_open(keeper, PidfdFlags::empty()).expect("the keeper runs");
        // Namespaces are a thread's own; a child has those of the thread that starts it.
        move_into_thread_name_spaces(keeper.as_fd(), ThreadNameSpaceType::NETWORK)
            .expect("a pidfd leads into a namespace");
        let result = work();
        move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the way back is open");
        result
    }
}

/// The hosts of one test.
pub(crate) struct Network {
    /// The tracker's.
    pub(crate) tracker: Host,
    /// That of the client that has the file.
    pub(crate) seeder: Host,
    /// That of the client that wants the file.
    pub(crate) leecher: Host,
}

impl Network {
    const fn of([tracker, seeder, leecher]: [Host; 3]) -> Network {
        Network { tracker, seeder, leecher }
    }
}

/// The loopback interface: all of 127.0.0.0/8 is local.
pub(crate) const LOOPBACK_V4: Network = Network::of([local_v4(1), local_v4(2), local_v4(3)]);

/// The loopback interface, which has one IPv6 address: the clients differ in their ports alone.
pub(crate) const LOOPBACK_V6: Network =
    Network::of([Host::local(IpAddr::V6(Ipv6Addr::LOCALHOST)); 3]);

const fn local_v4(last: u8) -> Host {
    Host::local(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

/// The IPv4 addresses that [`apart`] gives out, by the number of the host.
pub(crate) fn private_v4(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, number))
}

/// The IPv6 addresses that [`apart`] gives out, by the number of the host.
pub(crate) fn private_v6(number: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()))
}

/// Runs `body` with a network of its own, where every host has an address of either family; `body`
/// is given the one that `address` makes of its number, [`private_v4`] or [`private_v6`]. `test` is
/// the name of the test that calls, by which it is run again.
#[track_caller]
pub(crate) fn apart(test: &str, address: fn(u8) -> IpAddr, body: fn(&Network)) {
    if env::var_os(INSIDE).is_some() {
        return body(&set_up(address));
    }
    let mut unshare = unshare(&["--net", "--pid", "--fork", "--kill-child"]);
    // Root has what it takes already, and may have it where user namespaces are off.
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    unshare
        .arg(env::current_exe().expect("a test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1");
    let mut again = Running::start(unshare);
    let status = again.wait_exit(SECOND_RUN_MAX);
    assert!(
        status.success() && again.transcript().contains("1 passed"),
        "{test} failed in its network namespaces. If unshare was refused: Transmission takes no \
         peers from loopback addresses, so this test makes a network of its own; run it as root \
         (CAP_SYS_ADMIN) or allow user namespaces",
    );
}

fn unshare(arguments: &[&str]) -> Command {
    let mut unshare = Command::new(program("unshare", "util-linux"));
    unshare.args(arguments);
    unshare
}

/// The user's id is that of the process, which owns its directory in /proc.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn set_up(address: fn(u8) -> IpAddr) -> Network {
    ip("link add name bridge type bridge");
    bring_up("bridge", TEST);
    Network::of([1, 2, 3].map(|number| plug_in(number, address(number))))
}

/// Makes a namespace for the host of that number, and joins it to the bridge.
fn plug_in(number: u8, address: IpAddr) -> Host {
    let keeper = Running::start(unshare(&["--net", "sh", "-c", KEEP]));
    keeper.wait_line("that its namespace is made", |line| (line == "made").then_some(()));
    let pid = keeper.pid();
    // It ends with the process namespace.
    mem::forget(keeper);

    ip(&format!("link add name host{number} type veth peer name eth0 netns {pid}"));
    ip(&format!("link set host{number} master bridge up"));
    let host = Host { ip: address, keeper: Some(pid) };
    host.run(|| {
        ip("link set lo up");
        bring_up("eth0", number);
    });
    host
}

/// Gives the interface its address of either family.
fn bring_up(interface: &str, number: u8) {
    ip(&format!("link set {interface} up"));
    ip(&format!("addr add {}/24 dev {interface}", private_v4(number)));
    // Without duplicate address detection, which keeps an IPv6 address from use for a second.
    ip(&format!("addr add {}/64 dev {interface} nodad", private_v6(number)));
}

fn ip(arguments: &str) {
    let status = Command::new(program("ip", "iproute2"))
        .args(arguments.split(' '))
        .status()
        .expect("ip can be run");
    assert!(status.success(), "ip {arguments} ended with {status}");
}
