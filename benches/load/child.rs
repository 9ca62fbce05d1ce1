//! Servers as child processes: each pinned to its cores from its first instruction on, and gone
//! when the bench is.
//!
//! A child is started through this program itself (argument [`AS_CHILD`]), which asks to be killed
//! with its parent, pins itself and becomes the server. Processor time is the scheduler's own
//! account in nanoseconds (`schedstat`, proc(5)), exact while a server is at rest; memory is what
//! is in RAM.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::udp_client::serves_udp;

/// First argument of this program when it is to become a server; cores and command line follow.
pub(crate) const AS_CHILD: &str = "--as-child";
/// For a server to begin to serve; one that loads a long list takes a while.
const START_MAX: Duration = Duration::from_secs(60);
/// For a server at rest to be at rest.
const SETTLE: Duration = Duration::from_millis(2);

/// Which cores the servers have, and which the load.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    /// Of a server with one worker.
    pub(crate) server: Vec<usize>,
    /// Of this program.
    pub(crate) load: Vec<usize>,
    /// All there are.
    pub(crate) all: Vec<usize>,
}

impl Cores {
    /// The first core for servers and the second for the load; where there is but one, all share
    /// it.
    pub(crate) fn find() -> io::Result<Cores> {
        let allowed = sched_getaffinity(None)?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let one = |at: usize| vec![*all.get(at).or(all.first()).unwrap_or(&0)];
        Ok(Cores { server: one(0), load: one(1), all })
    }
}

/// Has this thread, and what it starts, run on these cores only.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}

/// Becomes the server that `arguments` name, after their first, which are cores. Comes back only
/// with an error.
pub(crate) fn become_server(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let cores = arguments.next().unwrap_or_default().into_string().unwrap_or_default();
    let cores: Vec<usize> = cores.split(',').filter_map(|core| core.parse().ok()).collect();
    let ready = set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(io::Error::from)
        .and_then(|()| pin(&cores));
    match ready {
        Ok(()) => Command::new(arguments.next().unwrap_or_default()).args(arguments).exec(),
        Err(error) => error,
    }
}

/// A port of the loopback interface that nobody has.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Where it serves.
    pub(crate) address: SocketAddrV4,
}

impl Server {
    /// Starts `program` on `cores` and waits until it serves on `port`. Its working directory is
    /// `home`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        cores: &[usize],
        home: &Path,
        port: u16,
    ) -> io::Result<Server> {
        let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(AS_CHILD).arg(cores.join(",")).arg(program).args(arguments);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(home);
        let errors = fs::File::create(home.join("stderr"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()?;
        let mut server = Server { child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port) };
        match server.wait_until_it_serves() {
            Ok(()) => Ok(server),
            Err(error) => {
                let said = fs::read_to_string(home.join("stderr")).unwrap_or_default();
                let said = said.trim().lines().last().unwrap_or("it said nothing");
                Err(io::Error::other(format!("{}: {error}: {said}", program.display())))
            }
        }
    }

    fn wait_until_it_serves(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).is_err() && !serves_udp(self.address) {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("does not serve"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Processor time of all its threads so far. Asked while nothing is under way.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        thread::sleep(SETTLE);
        let mut ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            ns += text
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .ok_or_else(|| io::Error::other("no schedstat"))?;
        }
        Ok(Duration::from_nanos(ns))
    }

    /// Its memory that is in RAM, bytes.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(1024 * kib.ok_or_else(|| io::Error::other("no Rss in smaps_rollup"))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
