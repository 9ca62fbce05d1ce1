//! The servers that are loaded: the tracker as built, the bare server, and other trackers where
//! they are installed.
//!
//! Owns: their settings. All are given one thread where they can do with one, and asked nothing
//! that is not in the load.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bare::Bare;
use crate::bare_udp::BareUdp;
use crate::child::{Cores, Server, free_port};
use crate::client::Exchange;
use crate::loads::{Load, Site};
use crate::population::Population;

/// What a server can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Skill {
    /// Only a connection for every request.
    Reconnecting,
    /// Connections that stay, one request at a time.
    KeepAlive,
    /// Connections that stay, any number of requests at a time.
    Pipelining,
}

impl Skill {
    /// Whether it is enough for an exchange, and if not, why.
    pub(crate) fn lacks(self, exchange: Exchange) -> Option<&'static str> {
        match (exchange, self) {
            (Exchange::KeptAlive { .. }, Skill::Reconnecting) => Some("keeps no connections"),
            (Exchange::KeptAlive { depth: 2.. }, Skill::KeepAlive) => {
                Some("drops pipelined requests")
            }
            _ => None,
        }
    }

    /// The quickest way to announce every peer once, where `exchange` follows.
    pub(crate) fn fill(self, exchange: Exchange) -> Exchange {
        match self {
            Skill::Pipelining => Exchange::KeptAlive { depth: 32 },
            Skill::KeepAlive if exchange != Exchange::Reconnecting => {
                Exchange::KeptAlive { depth: 1 }
            }
            Skill::Reconnecting | Skill::KeepAlive => Exchange::Reconnecting,
        }
    }
}

/// What all servers of a load are started with.
pub(crate) struct Ground<'g> {
    pub(crate) load: &'g Load,
    pub(crate) cores: &'g Cores,
    pub(crate) population: &'g Population,
    /// A directory for the server alone.
    pub(crate) home: &'g Path,
}

impl Ground<'_> {
    fn cores(&self) -> &[usize] {
        if self.load.workers > 1 { &self.cores.all } else { &self.cores.server }
    }

    /// The tracker.
    pub(crate) fn tracker(&self, program: &Path, peer_ids: bool) -> io::Result<Server> {
        let port = free_port()?;
        let (mode, database) = match self.load.site {
            Site::Registered => ("registered", self.import(program)?),
            Site::Open | Site::ShortLived => ("open", "memory".to_owned()),
        };
        let intervals = match self.load.site {
            Site::ShortLived => "min_interval = \"1s\"\nmax_interval = \"1m\"\n",
            Site::Open | Site::Registered => "",
        };
        let workers = self.load.workers;
        let settings = format!(
            "[server]\nlisten = [\"127.0.0.1:{port}\"]\nworkers = {workers}\nidle_timeout = \
             \"1h\"\nlog_level = \"warn\"\n[tracker]\nmode = \"{mode}\"\npeer_ids = \
             {peer_ids}\nfull_scrape = \"off\"\nshares_exempt = []\n\
             peers_per_address_max = 0\n{intervals}[database]\nurl = \"{database}\"\n",
        );
        fs::write(self.home.join("announced.toml"), settings)?;
        let arguments = ["--config", "announced.toml"].map(str::to_owned);
        Server::start(program, &arguments, self.cores(), self.home, port)
    }

    /// Lists the population's torrents in a database; its URL.
    fn import(&self, program: &Path) -> io::Result<String> {
        fs::write(self.home.join("hashes"), self.hashes())?;
        let url = format!("sqlite:{}", self.home.join("announced.db").display());
        let mut command = Command::new(program);
        command.args(["torrent", "import", "hashes", "--database", &url]).current_dir(self.home);
        let output = command.output()?;
        match output.status.success() {
            true => Ok(url),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or_default();
                Err(io::Error::other(format!("not available: announced torrent import: {said}")))
            }
        }
    }

    /// A hash a line.
    fn hashes(&self) -> String {
        let mut text = String::new();
        for hash in self.population.hashes() {
            hash.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
            text.push('\n');
        }
        text
    }

    /// The bare server, whose answers are as long as the tracker's on average.
    pub(crate) fn bare(&self, answer_bytes: usize, request_bytes: usize) -> io::Result<Server> {
        let port = free_port()?;
        let bare = Bare {
            port,
            answer_bytes,
            request_bytes: matches!(self.load.exchange, Exchange::KeptAlive { depth: 2.. })
                .then_some(request_bytes),
            close: self.load.exchange == Exchange::Reconnecting,
            workers: self.load.workers,
        };
        Server::start(&env::current_exe()?, &bare.arguments(), self.cores(), self.home, port)
    }

    /// The bare server of datagrams.
    pub(crate) fn bare_udp(&self, answer_bytes: usize) -> io::Result<Server> {
        let port = free_port()?;
        let bare = BareUdp { port, answer_bytes, workers: self.load.workers };
        Server::start(&env::current_exe()?, &bare.arguments(), self.cores(), self.home, port)
    }

    /// `aquatic_udp`, whose one thread does everything.
    pub(crate) fn aquatic_udp(&self, program: &Path) -> io::Result<Server> {
        let port = free_port()?;
        let settings = format!(
            "socket_workers = 1\nlog_level = \"error\"\n[network]\naddress = \
             \"127.0.0.1:{port}\"\nsocket_recv_buffer_size = 4194304\n[protocol]\n\
             max_response_peers = 200\npeer_announce_interval = 1800\n[cleaning]\n\
             max_connection_age = 3600\nmax_peer_age = 7200\n",
        );
        fs::write(self.home.join("aquatic.toml"), settings)?;
        let arguments = ["-c", "aquatic.toml"].map(str::to_owned);
        Server::start(program, &arguments, &self.cores.server, self.home, port)
    }

    /// opentracker as Debian builds it, which serves only what is on a list.
    pub(crate) fn opentracker(&self, program: &Path) -> io::Result<Server> {
        let port = free_port()?;
        fs::write(self.home.join("whitelist"), self.hashes())?;
        let protocol = if self.load.datagrams.is_some() { "tcp_udp" } else { "tcp" };
        let settings = format!(
            "listen.{protocol} 127.0.0.1:{port}\naccess.whitelist {}\n",
            self.home.join("whitelist").display()
        );
        fs::write(self.home.join("opentracker.conf"), settings)?;
        let arguments = ["-f", "opentracker.conf"].map(str::to_owned);
        Server::start(program, &arguments, &self.cores.server, self.home, port)
    }

    /// `aquatic_http`, whose two threads are never idle together, so that it gets every core.
    pub(crate) fn aquatic(&self, program: &Path) -> io::Result<Server> {
        let port = free_port()?;
        let settings = format!(
            "socket_workers = 1\nswarm_workers = 1\nlog_level = \"error\"\n[network]\naddress = \
             \"127.0.0.1:{port}\"\nkeep_alive = {}\n[protocol]\nmax_peers = \
             200\npeer_announce_interval = 1800\n[cleaning]\nmax_peer_age = \
             7200\nmax_connection_idle = 3600\n",
            self.load.exchange != Exchange::Reconnecting,
        );
        fs::write(self.home.join("aquatic.toml"), settings)?;
        let arguments = ["-c", "aquatic.toml"].map(str::to_owned);
        Server::start(program, &arguments, &self.cores.all, self.home, port)
    }
}

/// Where a program is installed: on the path, among the system's tools, or where cargo puts it.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from))
        .chain(cargo.map(|cargo| cargo.join("bin")))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}
