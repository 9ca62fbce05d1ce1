//! One load, from the population to the figures.
//!
//! The tracker is filled first and says how long its answers are; then the bare server and the
//! rivals come, and all of them take turns, round by round, so that the machine's moods meet them
//! alike.

mod udp;

use std::io;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::child::{Cores, Server};
use crate::client::{Client, Exchange, Tally, Traffic};
use crate::driver::Driver;
use crate::latency::Latencies;
use crate::loads::{Load, Site, When};
use crate::options::Options;
use crate::population::{Population, Spread};
use crate::request::Form;
use crate::site::{Ground, Skill, installed};
use crate::udp_client::UdpClient;
use crate::walk::Walk;

/// Seconds of a round that is thrown away, before the others.
const WARM_UP_S: f64 = 0.3;
/// Of first announces one in so many may fail: opentracker resets a connection now and then.
const FILL_ERRORS_ONE_IN: u64 = 1_000;
/// Attempts to have every peer announced.
const FILLS_MAX: usize = 3;
/// Addresses that announce when a connection is made for every request.
const MANY_ADDRESSES: u32 = 4_096;
/// Of the expiry load: how long its peers live with its settings, and one peer in so many goes on
/// announcing.
const LIFE: Duration = Duration::from_secs(61);
const SURVIVORS_ONE_IN: usize = 50;
/// From the end of a life until all have gone, at most.
const EXPIRY: Duration = Duration::from_secs(6);

/// One round of one server.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) seconds: f64,
    pub(crate) answers: u64,
    pub(crate) errors: u64,
    /// The server's processor time.
    pub(crate) cpu: Duration,
    /// The load's own.
    pub(crate) load_cpu: Duration,
    pub(crate) p999_us: f64,
}

impl Round {
    /// The server's processor time for one answer, microseconds.
    #[allow(clippy::cast_precision_loss, reason = "a count of answers")]
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers.max(1) as f64
    }

    /// Answers a second.
    #[allow(clippy::cast_precision_loss, reason = "a count of answers")]
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

/// One server's part in a load.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Why there is nothing to tell.
    pub(crate) missing: Option<String>,
    pub(crate) rounds: Vec<Round>,
    pub(crate) latencies: Latencies,
    /// Memory that its peers take, bytes a peer.
    pub(crate) peer_bytes: Option<f64>,
}

impl Part {
    fn new(name: &'static str) -> Part {
        Part {
            name,
            missing: None,
            rounds: Vec::new(),
            latencies: Latencies::new(),
            peer_bytes: None,
        }
    }
}

/// What came of a load.
pub(crate) struct Outcome {
    pub(crate) load: Load,
    pub(crate) peers: usize,
    /// Mean length of the tracker's answers.
    pub(crate) answer_bytes: usize,
    pub(crate) parts: Vec<Part>,
}

/// A server with its peers, and its part.
struct Contender<'p> {
    part: Part,
    /// None when it has no part.
    running: Option<(Server, Driver<'p>)>,
}

/// Runs loads.
pub(crate) struct Runner<'r> {
    pub(crate) options: &'r Options,
    pub(crate) cores: &'r Cores,
    /// Where servers may leave things.
    pub(crate) home: &'r Path,
}

impl Runner<'_> {
    /// Runs one load.
    pub(crate) fn run(&self, load: &Load) -> io::Result<Outcome> {
        self.progress(load, "draws its peers");
        let connections = u32::try_from(self.options.connections).unwrap_or(u32::MAX);
        let spread = Spread {
            torrents: load.torrents,
            peers: load.peers,
            zipf: load.zipf,
            seeders: self.options.seeders,
            addresses: if load.exchange == Exchange::Reconnecting {
                MANY_ADDRESSES
            } else {
                connections
            },
        };
        let population = Population::new(&spread)?;
        let mut contenders = vec![self.contender(load, &population, "announced", |ground| {
            ground.tracker(Path::new(BUILT), true)
        })];
        let mut answer_bytes = 0;
        if load.datagrams.is_some() {
            answer_bytes = self.add_udp_servers(load, &population, &mut contenders)?;
        } else if contenders[0].running.is_none() {
            let parts = contenders.into_iter().map(|contender| contender.part).collect();
            return Ok(Outcome { load: *load, peers: population.len(), answer_bytes, parts });
        } else if load.measured {
            answer_bytes = self.warm_up(&mut contenders[0])?;
            let request_bytes = self.announce(load, false).len();
            contenders.push(self.contender(load, &population, BARE, |ground| {
                ground.bare(answer_bytes, request_bytes)
            }));
        } else {
            contenders.push(self.contender(load, &population, "announced, no ids", |ground| {
                ground.tracker(Path::new(BUILT), false)
            }));
        }
        if let Some(other) = &self.options.other {
            contenders.push(
                self.contender(load, &population, "other build", |ground| {
                    ground.tracker(other, true)
                }),
            );
        }
        if load.datagrams.is_none() {
            self.add_rivals(load, &population, &mut contenders);
        }
        for contender in contenders.iter_mut().skip(1).filter(|_| load.measured) {
            self.warm_up(contender)?;
        }
        self.measure(load, &mut contenders)?;
        let parts = contenders.into_iter().map(|contender| contender.part).collect();
        Ok(Outcome { load: *load, peers: population.len(), answer_bytes, parts })
    }

    fn measure(&self, load: &Load, contenders: &mut [Contender<'_>]) -> io::Result<()> {
        let begun = Instant::now();
        let rounds = if load.measured { self.options.rounds() } else { 0 };
        let mut round = 0;
        while round < rounds || (load.site == Site::ShortLived && begun.elapsed() < LIFE + EXPIRY) {
            round += 1;
            let end =
                if load.site == Site::ShortLived { String::new() } else { format!(" of {rounds}") };
            self.progress(load, &format!("round {round}{end}"));
            for contender in &mut *contenders {
                contender.round(self.options.round_s())?;
            }
        }
        Ok(())
    }

    fn add_rivals<'p>(
        &self,
        load: &Load,
        population: &'p Population,
        contenders: &mut Vec<Contender<'p>>,
    ) {
        if !self.takes_rivals(load) {
            return;
        }
        contenders.push(match installed(OPENTRACKER) {
            None => {
                Contender::missing(OPENTRACKER, "is not installed: apt-get install opentracker")
            }
            Some(program) => {
                self.contender(load, population, OPENTRACKER, |ground| ground.opentracker(&program))
            }
        });
        contenders.push(match installed(AQUATIC) {
            None => Contender::missing(AQUATIC, "is not installed: cargo install aquatic_http"),
            Some(program) => {
                self.contender(load, population, AQUATIC, |ground| ground.aquatic(&program))
            }
        });
    }

    fn takes_rivals(&self, load: &Load) -> bool {
        let taken = match load.rivals {
            None => false,
            Some(When::Full) => self.options.full,
            Some(When::Usually | When::Always) => true,
        };
        taken && !self.options.no_rivals
    }

    /// Starts a server and has every peer announce itself.
    fn contender<'p>(
        &self,
        load: &Load,
        population: &'p Population,
        name: &'static str,
        start: impl FnOnce(&Ground<'_>) -> io::Result<Server>,
    ) -> Contender<'p> {
        let skill = skill_of(name);
        if load.measured
            && load.datagrams.is_none()
            && let Some(lack) = skill.lacks(load.exchange)
        {
            return Contender::missing(name, lack);
        }
        self.progress(load, &format!("fills {name}"));
        match self.filled(load, population, name, start) {
            Ok(contender) => contender,
            Err(error) => Contender::missing(name, &error.to_string()),
        }
    }

    fn filled<'p>(
        &self,
        load: &Load,
        population: &'p Population,
        name: &'static str,
        start: impl FnOnce(&Ground<'_>) -> io::Result<Server>,
    ) -> io::Result<Contender<'p>> {
        let home = self.home.join(format!(
            "{}-{}",
            load.name,
            name.replace(|c: char| !c.is_alphanumeric(), "-")
        ));
        std::fs::create_dir_all(&home)?;
        let server = start(&Ground { load, cores: self.cores, population, home: &home })?;
        let mut part = Part::new(name);
        if name != BARE {
            let idle_bytes = server.memory()?;
            self.fill(load, population, name, &server)?;
            part.peer_bytes =
                Some(mean(server.memory()?.saturating_sub(idle_bytes), population.len() as u64));
        }
        let one_in = if load.site == Site::ShortLived { SURVIVORS_ONE_IN } else { 1 };
        let walk = Walk::endless(population, one_in);
        let client = self.driver(load, population, &server, (None, walk))?;
        Ok(Contender { part, running: Some((server, client)) })
    }

    /// Has every peer announce itself. Once more when some failed: opentracker serves before it has
    /// read its whitelist.
    fn fill(
        &self,
        load: &Load,
        population: &Population,
        name: &str,
        server: &Server,
    ) -> io::Result<()> {
        let mut errors = 0;
        for _ in 0..FILLS_MAX {
            let first = (Some(skill_of(name)), Walk::once(population));
            errors = self.driver(load, population, server, first)?.run(None)?.errors;
            if errors <= population.len() as u64 / FILL_ERRORS_ONE_IN {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("{errors} of {} first announces failed", population.len())))
    }

    /// A load on a server; with a skill it is the first time that its peers announce themselves.
    fn driver<'p>(
        &self,
        load: &Load,
        population: &'p Population,
        server: &Server,
        (first, walk): (Option<Skill>, Walk),
    ) -> io::Result<Driver<'p>> {
        let started = first.is_some();
        if let Some(how) = load.datagrams {
            let traffic = self.udp_traffic(load, how, started);
            let client = UdpClient::new(population, server.address, traffic, walk)?;
            return Ok(Driver::Udp(Box::new(client)));
        }
        let exchange = first.map_or(load.exchange, |skill| skill.fill(load.exchange));
        let traffic = self.traffic(load, exchange, started);
        let client = Client::new(population, server.address, traffic, walk)?;
        Ok(Driver::Http(Box::new(client)))
    }

    fn announce(&self, load: &Load, started: bool) -> Form {
        Form::announce(load.exchange != Exchange::Reconnecting, self.options.numwant, started)
    }

    fn traffic(&self, load: &Load, exchange: Exchange, started: bool) -> Traffic {
        let keep_alive = exchange != Exchange::Reconnecting;
        let scrape =
            load.scrape_in.filter(|_| !started).map(|one_in| (Form::scrape(keep_alive), one_in));
        let announce = Form::announce(keep_alive, self.options.numwant, started);
        let spins = self.spins(load);
        Traffic { exchange, connections: self.options.connections, spins, announce, scrape }
    }

    /// Whether the load has a core of its own.
    fn spins(&self, load: &Load) -> bool {
        self.cores.load != self.cores.server && load.workers == 1
    }

    /// A round that does not count; the mean length of its answers.
    fn warm_up(&self, contender: &mut Contender<'_>) -> io::Result<usize> {
        let Some((_, client)) = &mut contender.running else { return Ok(0) };
        let tally = client.run(Client::end_of_round(WARM_UP_S))?;
        Ok(usize::try_from(tally.reply_bytes / (tally.answers + tally.errors).max(1)).unwrap_or(0))
    }

    /// One line that is written over by the next.
    fn progress(&self, load: &Load, what: &str) {
        let _ = write!(io::stderr(), "\r\x1b[K{}: {what}", load.name);
        let _ = io::stderr().flush();
    }
}

/// The tracker as built.
const BUILT: &str = env!("CARGO_BIN_EXE_announced");
/// The name of the server that the others are compared with.
pub(crate) const BARE: &str = "bare server";
const OPENTRACKER: &str = "opentracker";
const AQUATIC: &str = "aquatic_http";

fn skill_of(name: &str) -> Skill {
    match name {
        OPENTRACKER => Skill::Reconnecting,
        AQUATIC => Skill::KeepAlive,
        _ => Skill::Pipelining,
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
fn mean(sum: u64, count: u64) -> f64 {
    sum as f64 / count.max(1) as f64
}

impl Contender<'_> {
    fn missing(name: &'static str, why: &str) -> Contender<'static> {
        Contender { part: Part { missing: Some(why.to_owned()), ..Part::new(name) }, running: None }
    }

    fn round(&mut self, seconds: f64) -> io::Result<()> {
        let Some((server, client)) = &mut self.running else { return Ok(()) };
        let (cpu, load_cpu, begun) = (server.cpu()?, own_cpu(), Instant::now());
        let Tally { answers, errors, latencies, .. } = client.run(Client::end_of_round(seconds))?;
        let seconds = begun.elapsed().as_secs_f64();
        let (load_cpu, cpu) =
            (own_cpu().saturating_sub(load_cpu), server.cpu()?.saturating_sub(cpu));
        let p999_us = latencies.quantile_us(0.999);
        self.part.rounds.push(Round { seconds, answers, errors, cpu, load_cpu, p999_us });
        self.part.latencies.add_all(&latencies);
        Ok(())
    }
}

/// Processor time of this program so far.
fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
