//! What came of the loads, as tables for people and as JSON for programs.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use crate::latency::Latencies;
use crate::run::{BARE, Outcome, Part, Round};

/// The best of a server's rounds and its middle one, in microseconds of processor time for an
/// answer.
struct Cpu {
    best_us: f64,
    median_us: f64,
}

impl Cpu {
    fn of(rounds: &[Round]) -> Option<Cpu> {
        let mut all: Vec<f64> = rounds.iter().map(Round::cpu_us).collect();
        all.sort_by(f64::total_cmp);
        Some(Cpu { best_us: *all.first()?, median_us: *all.get(all.len() / 2)? })
    }
}

impl Outcome {
    fn cpu_of(&self, name: &str) -> Option<Cpu> {
        self.parts.iter().find(|part| part.name == name).and_then(|part| Cpu::of(&part.rounds))
    }

    /// A server's processor time over the bare server's: best by best, median by median.
    fn ratios(&self, part: &Part) -> Option<(f64, f64)> {
        let (own, bare) = (Cpu::of(&part.rounds)?, self.cpu_of(BARE)?);
        Some((own.best_us / bare.best_us, own.median_us / bare.median_us))
    }

    /// The table of a load.
    pub(crate) fn table(&self) -> String {
        let load = &self.load;
        let mut text = format!("{}: {}\n", load.name, load.about);
        let _ = write!(
            text,
            "{} torrents, {} peers",
            spaced(load.torrents.into()),
            spaced(self.peers as u64)
        );
        if !load.measured {
            let _ = writeln!(text, "\n{:<20}{:>14}", "", "bytes a peer");
            for part in &self.parts {
                let _ = match (&part.missing, part.peer_bytes) {
                    (Some(why), _) => writeln!(text, "{:<20}  {why}", part.name),
                    (None, bytes) => {
                        writeln!(text, "{:<20}{:>14.1}", part.name, bytes.unwrap_or_default())
                    }
                };
            }
            return text;
        }
        let _ = writeln!(text, ", answers of {} bytes on average", self.answer_bytes);
        let columns = [
            "answers/s",
            "CPU us",
            "median",
            "x bare",
            "median",
            "p50 us",
            "p99",
            "p99.9",
            "errors",
            "bytes/peer",
        ];
        let _ = write!(text, "{:<14}", "");
        columns.iter().for_each(|column| _ = write!(text, "{column:>11}"));
        text.push('\n');
        self.parts.iter().for_each(|part| self.write_row(part, &mut text));
        self.write_goal(&mut text);
        self.write_worst(&mut text);
        text
    }

    fn write_row(&self, part: &Part, text: &mut String) {
        let _ = write!(text, "{:<14}", part.name);
        let Some(cpu) = Cpu::of(&part.rounds) else {
            let _ = writeln!(text, "  {}", part.missing.as_deref().unwrap_or("was not measured"));
            return;
        };
        let (best, median) = self.ratios(part).unwrap_or_default();
        let fastest = part.rounds.iter().map(Round::per_second).fold(0.0, f64::max);
        let _ = write!(
            text,
            "{fastest:>11.0}{:>11.2}{:>11.2}{best:>11.3}{median:>11.3}",
            cpu.best_us, cpu.median_us
        );
        let [p50, p99, p999] = quantiles(&part.latencies);
        let errors: u64 = part.rounds.iter().map(|round| round.errors).sum();
        let memory = part.peer_bytes.map(|bytes| format!("{bytes:.1}")).unwrap_or_default();
        let _ = writeln!(text, "{p50:>11.0}{p99:>11.0}{p999:>11.0}{errors:>11}{memory:>11}");
    }

    fn write_goal(&self, text: &mut String) {
        let own = self.parts.first().and_then(|part| self.ratios(part));
        if let (Some(goal), Some((best, _))) = (self.load.goal, own) {
            let verdict = if best <= goal { "met" } else { "not met" };
            let _ = writeln!(text, "the goal of {goal} x bare is {verdict}");
        }
    }

    /// Where a load has an event in the middle of it, the round it shows most in.
    fn write_worst(&self, text: &mut String) {
        if self.load.name != "expiry" {
            return;
        }
        for part in &self.parts {
            let mut p999_us: Vec<f64> = part.rounds.iter().map(|round| round.p999_us).collect();
            p999_us.sort_by(f64::total_cmp);
            if let (Some(median), Some(worst)) = (p999_us.get(p999_us.len() / 2), p999_us.last()) {
                let _ = writeln!(
                    text,
                    "{}: p99.9 of a round is {median:.0} us, in the worst {worst:.0} us",
                    part.name
                );
            }
        }
    }

    fn json(&self) -> Value {
        let load = &self.load;
        let parts: Vec<Value> = self.parts.iter().map(|part| self.part_json(part)).collect();
        json!({
            "name": load.name, "about": load.about, "torrents": load.torrents,
            "peers": self.peers, "zipf": load.zipf, "workers": load.workers,
            "answer_bytes": self.answer_bytes, "goal": load.goal, "servers": parts,
        })
    }

    fn part_json(&self, part: &Part) -> Value {
        let [p50_us, p99_us, p999_us] = quantiles(&part.latencies);
        let cpu = Cpu::of(&part.rounds);
        let ratios = self.ratios(part);
        let rounds: Vec<Value> = part.rounds.iter().map(round_json).collect();
        json!({
            "name": part.name, "missing": part.missing, "bytes_per_peer": part.peer_bytes,
            "cpu_us_best": cpu.as_ref().map(|cpu| cpu.best_us),
            "cpu_us_median": cpu.as_ref().map(|cpu| cpu.median_us),
            "ratio_best": ratios.map(|(best, _)| best),
            "ratio_median": ratios.map(|(_, median)| median),
            "p50_us": p50_us, "p99_us": p99_us, "p999_us": p999_us, "rounds": rounds,
        })
    }
}

fn round_json(round: &Round) -> Value {
    json!({
        "seconds": round.seconds, "answers": round.answers, "errors": round.errors,
        "cpu_us": round.cpu_us(), "cpu_s": round.cpu.as_secs_f64(),
        "load_cpu_s": round.load_cpu.as_secs_f64(), "p999_us": round.p999_us,
    })
}

fn quantiles(latencies: &Latencies) -> [f64; 3] {
    [0.5, 0.99, 0.999].map(|quantile| latencies.quantile_us(quantile))
}

/// Everything, for programs.
pub(crate) fn json(outcomes: &[Outcome]) -> String {
    let loads: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
    format!("{:#}\n", json!({ "machine": machine(), "loads": loads }))
}

/// What the figures were taken on.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), release.trim())
}

/// A number with its thousands apart.
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
