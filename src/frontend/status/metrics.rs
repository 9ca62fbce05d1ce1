//! `/metrics`: everything there is to count, as Prometheus reads it (text format 0.0.4).
//!
//! Owns: the names and labels of the metrics. Values are made when they are asked for
//! ([`Collector`]); nothing is kept.
//!
//! Never: a torrent, a peer or an address in a label: their number has no bound.

use std::fmt::{self, Error};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::counters::{Counter, Gauge, Peak};
use crate::frontend::status::process;
use crate::frontend::status::vitals::{Source, Vitals};
use crate::registry::{LOOKUP_BOUNDS_US, LookupFigures};

/// A label with its value.
type Label = (&'static str, &'static str);

/// What Prometheus is told that the page holds.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// See the module.
pub(super) struct Metrics(Registry);

impl Metrics {
    pub(super) fn new(source: Arc<Source>) -> Metrics {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(TrackerCollector(source)));
        Metrics(registry)
    }

    /// The page; empty if it could not be written, which no writer of strings says.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        let written = prometheus_text::encode(&mut page, &self.0);
        debug_assert!(written.is_ok(), "a string has room for everything");
        page
    }
}

struct TrackerCollector(Arc<Source>);

impl fmt::Debug for TrackerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrackerCollector")
    }
}

impl Collector for TrackerCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let vitals = self.0.read();
        let mut page = Page(encoder);
        page.build()?;
        page.swarms(&vitals)?;
        page.requests(&vitals)?;
        page.connections(&vitals)?;
        page.registry(&vitals)?;
        page.workers(&vitals)?;
        page.process(&vitals)
    }
}

struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn build(&mut self) -> Result<(), Error> {
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let help = "The version that runs";
        info.encode(self.0.encode_descriptor("announced_build", help, None, MetricType::Info)?)
    }

    fn swarms(&mut self, vitals: &Vitals) -> Result<(), Error> {
        let totals = &vitals.totals;
        self.gauge("announced_torrents", "Torrents with a peer", totals.torrents)?;
        self.gauges(
            "announced_peers",
            "Peers in all swarms; one in two torrents counts twice",
            &[
                (&[("family", "ipv4"), ("role", "seeder")], totals.seeders_v4),
                (&[("family", "ipv4"), ("role", "leecher")], totals.leechers_v4),
                (&[("family", "ipv6"), ("role", "seeder")], totals.seeders_v6),
                (&[("family", "ipv6"), ("role", "leecher")], totals.leechers_v6),
            ],
        )?;
        self.gauge("announced_peers_max", "Peers that are stored at most", vitals.peers_max)?;
        let help = "Completions that were counted";
        self.counters("announced_completed", help, &[(&[], vitals.completed)])?;
        let help = "Peers that were not heard of for too long";
        self.counters("announced_expired_peers", help, &[(&[], vitals.expired)])?;
        self.counters(
            "announced_not_stored",
            "Announces whose peer was not stored",
            &[(&[], vitals.not_stored)],
        )?;
        self.counters(
            "announced_made_room",
            "Peers that made room for others at a cap",
            &[(&[], vitals.made_room)],
        )
    }

    fn requests(&mut self, vitals: &Vitals) -> Result<(), Error> {
        self.group("announced_requests", "Requests, whatever came of them", vitals, request)?;
        self.group("announced_refusals", "Requests answered with a failure", vitals, refusal)?;
        self.group("announced_faults", "Requests that were no HTTP, or not for it", vitals, fault)?;
        self.group("announced_waits", "Requests that needed the database", vitals, wait)?;
        self.group("announced_bytes", "Bytes read and written", vitals, bytes)?;
        let unknown = "Requests of which a trusted proxy did not say whose they are";
        self.group("announced_unknown_clients", unknown, vitals, unknown_client)
    }

    fn connections(&mut self, vitals: &Vitals) -> Result<(), Error> {
        let open = vitals.counters.gauge(Gauge::OpenConnections);
        self.gauge("announced_connections", "Connections that are open", open)?;
        let waiting = vitals.counters.gauge(Gauge::WaitingRequests);
        self.gauge("announced_waiting_requests", "Requests that wait for the database", waiting)?;
        let help = "Connections by what became of them";
        self.group("announced_connections", help, vitals, connection)?;
        self.group("announced_datagrams", "Packets by what became of them", vitals, datagram)
    }

    fn registry(&mut self, vitals: &Vitals) -> Result<(), Error> {
        let registry = &vitals.registry;
        let is_up = u64::from(vitals.away_s.is_none());
        self.gauge("announced_database_up", "Whether the database answers", is_up)?;
        let listed = registry.listed as u64;
        self.gauge("announced_listed_torrents", "Listed or banned, in the cache", listed)?;
        let bytes = registry.cache_bytes as u64;
        self.gauge("announced_cache_bytes", "Memory of cached records", bytes)?;
        let queued = registry.hashes_queued as u64;
        self.gauge("announced_lookup_queue", "Hashes that wait to be looked up", queued)?;
        let batches = registry.unwritten_batches as u64;
        self.gauge("announced_unwritten_batches", "Batches of counts to be written", batches)?;
        self.lookups(&registry.lookups)?;
        self.group("announced_snapshots", "Snapshots of the swarms", vitals, snapshot)?;
        let unix_s = vitals.counters.gauge(Gauge::SnapshotUnixS);
        let help = "When the swarms were last saved, since unix epoch; 0 before the first time";
        self.gauge("announced_snapshot_time_seconds", help, unix_s)?;
        let bytes = vitals.counters.gauge(Gauge::SnapshotBytes);
        self.gauge("announced_snapshot_bytes", "Size of the last snapshot", bytes)?;
        let dropped = registry.answers_dropped;
        self.counters(
            "announced_answers_dropped",
            "Answers that a full mailbox lost",
            &[(&[], dropped)],
        )
    }

    fn lookups(&mut self, figures: &LookupFigures) -> Result<(), Error> {
        let count = figures.buckets.iter().sum::<u64>();
        let help = "Lookups in the database, by whether they were answered";
        self.counters(
            "announced_lookups",
            help,
            &[(&[("outcome", "answered")], count), (&[("outcome", "failed")], figures.failed)],
        )?;
        let bounds = LOOKUP_BOUNDS_US.iter().map(|bound_us| *bound_us as f64 / 1e6);
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(figures.buckets).collect();
        let (name, help) = ("announced_lookup_seconds", "How long the database took to answer");
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(figures.sum_us as f64 / 1e6, count, &buckets, None)
    }

    fn workers(&mut self, vitals: &Vitals) -> Result<(), Error> {
        self.gauge("announced_workers", "Event loops", vitals.workers as u64)?;
        let alive = vitals.workers_alive as u64;
        self.gauge("announced_workers_alive", "Event loops that went round lately", alive)?;
        let longest_us = vitals.counters.peak(Peak::RoundUs);
        let help = "The longest round of an event loop so far";
        self.gauge_f64("announced_round_max_seconds", help, longest_us as f64 / 1e6)
    }

    fn process(&mut self, vitals: &Vitals) -> Result<(), Error> {
        let started = vitals.started_unix_s as f64;
        let help = "Start time of the process since unix epoch in seconds";
        self.gauge_f64("process_start_time_seconds", help, started)?;
        // Where /proc is not to be had, these are missing and everything else is there.
        let Some(process) = process::read() else { return Ok(()) };
        self.counter_f64(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds",
            process.cpu_s,
        )?;
        let help = "Resident memory size in bytes";
        self.gauge("process_resident_memory_bytes", help, process.resident_bytes)?;
        let help = "Virtual memory size in bytes";
        self.gauge("process_virtual_memory_bytes", help, process.virtual_bytes)?;
        self.gauge("process_open_fds", "Number of open file descriptors", process.open_fds)?;
        let help = "Maximum number of open file descriptors";
        self.gauge("process_max_fds", help, process.max_fds)
    }

    /// All counters that `labels` has labels for, as one metric.
    fn group<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        vitals: &Vitals,
        labels: impl Fn(Counter) -> Option<[Label; N]>,
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for counter in Counter::ALL {
            if let Some(labels) = labels(*counter) {
                let value = ConstCounter::new(vitals.counters.count(*counter));
                match N {
                    0 => value.encode(encoder.encode_family(&NO_LABEL)?)?,
                    _ => value.encode(encoder.encode_family(&labels)?)?,
                }
            }
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, rows: &[(&[Label], u64)]) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            ConstCounter::new(*value).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn gauges(&mut self, name: &str, help: &str, rows: &[(&[Label], u64)]) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(*value).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn gauge_f64(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn counter_f64(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }
}

const NO_LABEL: [Label; 0] = [];

fn request(counter: Counter) -> Option<[Label; 3]> {
    let (protocol, kind, family) = match counter {
        Counter::AnnounceHttpV4 => ("http", "announce", "ipv4"),
        Counter::AnnounceHttpV6 => ("http", "announce", "ipv6"),
        Counter::AnnounceUdpV4 => ("udp", "announce", "ipv4"),
        Counter::AnnounceUdpV6 => ("udp", "announce", "ipv6"),
        Counter::ScrapeHttpV4 => ("http", "scrape", "ipv4"),
        Counter::ScrapeHttpV6 => ("http", "scrape", "ipv6"),
        Counter::ScrapeUdpV4 => ("udp", "scrape", "ipv4"),
        Counter::ScrapeUdpV6 => ("udp", "scrape", "ipv6"),
        Counter::FullScrapeV4 => ("http", "full_scrape", "ipv4"),
        Counter::FullScrapeV6 => ("http", "full_scrape", "ipv6"),
        Counter::ConnectV4 => ("udp", "connect", "ipv4"),
        Counter::ConnectV6 => ("udp", "connect", "ipv6"),
        _ => return None,
    };
    Some([("protocol", protocol), ("kind", kind), ("family", family)])
}

fn refusal(counter: Counter) -> Option<[Label; 1]> {
    Some([(
        "reason",
        match counter {
            Counter::RefusedField => "missing_field",
            Counter::RefusedInfoHash => "info_hash",
            Counter::RefusedPeerId => "peer_id",
            Counter::RefusedPort => "port",
            Counter::RefusedNotRegistered => "not_registered",
            Counter::RefusedBanned => "banned",
            Counter::RefusedUnavailable => "database_away",
            Counter::RefusedBusy => "busy",
            Counter::RefusedTooOften => "too_often",
            Counter::RefusedFullScrape => "full_scrape",
            Counter::WrongConnectionId => "connection_id",
            _ => return None,
        },
    )])
}

fn fault(counter: Counter) -> Option<[Label; 1]> {
    Some([(
        "status",
        match counter {
            Counter::FaultBadRequest => "400",
            Counter::FaultNotFound => "404",
            Counter::FaultMethod => "405",
            Counter::FaultTimeout => "408",
            Counter::FaultTarget => "414",
            Counter::FaultHeaders => "431",
            Counter::FaultOverloaded => "503",
            _ => return None,
        },
    )])
}

fn wait(counter: Counter) -> Option<[Label; 1]> {
    Some([(
        "outcome",
        match counter {
            Counter::Parked => "begun",
            Counter::GivenUp => "given_up",
            Counter::LateAnswer => "nobody_there",
            _ => return None,
        },
    )])
}

fn bytes(counter: Counter) -> Option<[Label; 2]> {
    let (protocol, direction) = match counter {
        Counter::BytesReceivedHttp => ("http", "in"),
        Counter::BytesSentHttp => ("http", "out"),
        Counter::BytesReceivedUdp => ("udp", "in"),
        Counter::BytesSentUdp => ("udp", "out"),
        _ => return None,
    };
    Some([("protocol", protocol), ("direction", direction)])
}

fn connection(counter: Counter) -> Option<[Label; 1]> {
    Some([(
        "outcome",
        match counter {
            Counter::Accepted => "accepted",
            Counter::TurnedAway => "turned_away",
            Counter::TimedOut => "timed_out",
            Counter::Displaced => "closed_for_another",
            Counter::ConnectionOverRate => "over_rate",
            _ => return None,
        },
    )])
}

fn datagram(counter: Counter) -> Option<[Label; 1]> {
    Some([(
        "outcome",
        match counter {
            Counter::Datagram => "received",
            Counter::NoRequest => "senseless",
            Counter::ConnectOverRate => "connect_over_rate",
            Counter::DatagramDropped => "dropped_by_kernel",
            Counter::AnswerUnsent => "answer_unsent",
            _ => return None,
        },
    )])
}

fn snapshot(counter: Counter) -> Option<[Label; 1]> {
    Some([(
        "outcome",
        match counter {
            Counter::Snapshot => "saved",
            Counter::SnapshotFailed => "failed",
            _ => return None,
        },
    )])
}

fn unknown_client(counter: Counter) -> Option<[Label; 0]> {
    matches!(counter, Counter::UnknownClient).then_some([])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_exactly_one_metric() {
        for counter in Counter::ALL {
            let metrics = [
                request(*counter).is_some(),
                refusal(*counter).is_some(),
                fault(*counter).is_some(),
                wait(*counter).is_some(),
                bytes(*counter).is_some(),
                connection(*counter).is_some(),
                datagram(*counter).is_some(),
                snapshot(*counter).is_some(),
                unknown_client(*counter).is_some(),
            ];
            let count = metrics.iter().filter(|is_in| **is_in).count();
            assert_eq!(count, 1, "metrics with {counter:?}");
        }
    }
}
