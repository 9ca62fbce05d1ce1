//! How much memory the process may take, and how many torrents and peers fit into half of it.
//!
//! Owns: what the machine, the control groups and the resource limits say ([`MemoryLimit`]), and
//! what a torrent and a peer are taken to cost, which is what they cost at the worst.
//!
//! Never: allocates to find out, or fails: what cannot be read is no limit.
//!
//! Limits: read once, at the start. A control group that is made smaller later is not noticed.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::config::{Config, Live, SwarmLimits, UNSET_MAX};

/// A torrent's record, its entry in the index, and what growing arrays have to spare.
const TORRENT_BYTES: u64 = 112;
/// A peer at the worst: the only one of its family in its swarm.
const PEER_BYTES: u64 = 56;
/// The same with its id.
const PEER_WITH_ID_BYTES: u64 = 96;
/// So many of either are let in whatever the memory: a tracker must be of some use.
const CAP_MIN: u64 = 1_000;
/// The largest cap that can be set.
const CAP_MAX: u64 = u32::MAX as u64;
/// How `/proc/PID/limits` calls RLIMIT_AS.
const ADDRESS_SPACE: &str = "Max address space";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Whether RLIMIT_AS is set. Then what the allocator reserves counts as well, used or not: glibc
/// reserves 64 MiB for each thread.
pub fn is_address_space_limited() -> bool {
    limit_of(&fs::read_to_string("/proc/self/limits").unwrap_or_default(), ADDRESS_SPACE).is_some()
}

/// The soft limit on a line of `/proc/PID/limits`; None when there is none.
fn limit_of(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The least of the limits on the process' memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryLimit {
    bytes: u64,
    of: String,
}

/// How many torrents and peers there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Caps {
    /// Torrents with peers.
    torrents: u64,
    /// Peers, all torrents together.
    peers: u64,
}

impl MemoryLimit {
    /// The least of MemTotal, `memory.max` of the process' control group and of those above it, and
    /// RLIMIT_AS and RLIMIT_DATA less what is mapped now.
    pub fn read() -> MemoryLimit {
        MemoryLimit::read_below(Path::new("/"))
    }

    fn read_below(root: &Path) -> MemoryLimit {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mut limits = Vec::new();
        if let Some(kib) = kib_of(&text("proc/meminfo"), "MemTotal:") {
            limits.push(MemoryLimit { bytes: kib * KIB, of: "MemTotal".to_owned() });
        }
        for line in text("proc/self/cgroup").lines() {
            limits.extend(control_groups(root, line));
        }
        let (of_process, mapped) = (text("proc/self/limits"), text("proc/self/status"));
        for (name, of, taken) in
            [(ADDRESS_SPACE, "RLIMIT_AS", "VmSize:"), ("Max data size", "RLIMIT_DATA", "VmData:")]
        {
            if let Some(soft) = limit_of(&of_process, name) {
                let taken_bytes = kib_of(&mapped, taken).unwrap_or(0) * KIB;
                let of = format!("{of} less what is mapped");
                limits.push(MemoryLimit { bytes: soft.saturating_sub(taken_bytes), of });
            }
        }
        let least = limits.into_iter().min_by_key(|limit| limit.bytes);
        least.unwrap_or(MemoryLimit { bytes: u64::MAX, of: "no limit that is known".to_owned() })
    }

    /// What fits into half of it: one quarter of it for torrents, one for peers.
    fn caps(&self, peer_ids: bool) -> Caps {
        let quarter_bytes = self.bytes / 4;
        let peer_bytes = if peer_ids { PEER_WITH_ID_BYTES } else { PEER_BYTES };
        Caps {
            torrents: (quarter_bytes / TORRENT_BYTES).clamp(CAP_MIN, CAP_MAX),
            peers: (quarter_bytes / peer_bytes).clamp(CAP_MIN, CAP_MAX),
        }
    }

    /// The live part of the settings that the tracker is started with.
    pub fn live_of(&self, config: &Config) -> Live {
        self.cap(Live::of(config), config.tracker.peer_ids)
    }

    /// The settings with what fits where they leave a cap to the memory.
    pub fn cap(&self, mut live: Live, peer_ids: bool) -> Live {
        let (limits, caps) = (&mut live.swarm, self.caps(peer_ids));
        if limits.peers_max == UNSET_MAX {
            limits.peers_max = caps.peers;
        }
        if limits.torrents_max == UNSET_MAX {
            limits.torrents_max = caps.torrents;
        }
        live
    }

    /// A line that says how much is kept, and what that follows from.
    pub fn tell(&self, limits: &SwarmLimits, config: &Config) -> String {
        let SwarmLimits { peers_max, torrents_max, .. } = limits;
        let is_derived = config.tracker.peers_max == 0 || config.tracker.torrents_max == 0;
        let by = if is_derived { format!(", by half of {self}") } else { String::new() };
        format!("at most {peers_max} peers on {torrents_max} torrents are kept{by}")
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB ({})", self.bytes / MIB, self.of)
    }
}

/// The limits of the control group that a line of `/proc/self/cgroup` names, and of those above it:
/// `0::PATH` (version 2), or `N:memory:PATH` (version 1).
fn control_groups(root: &Path, line: &str) -> Vec<MemoryLimit> {
    let mut fields = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
    else {
        return Vec::new();
    };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(path.trim_start_matches('/'));
    let limit = |group: &Path| {
        let text = fs::read_to_string(root.join(mount).join(group).join(file)).ok()?;
        let bytes = text.trim().parse().ok()?;
        Some(MemoryLimit { bytes, of: format!("{file} of /{}", group.display()) })
    };
    group.ancestors().filter_map(limit).collect()
}

/// The value of a line such as `MemTotal:  24684036 kB`.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A machine of 8 GiB, with `files` beside.
    fn read(files: &[(&str, &str)]) -> MemoryLimit {
        let root = tempfile::tempdir().unwrap();
        let usual = [
            ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n"),
            ("proc/self/status", "Name:\tx\nVmSize:\t  102400 kB\nVmData:\t 51200 kB\n"),
            (
                "proc/self/limits",
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max data size             unlimited            unlimited            bytes\n\
                 Max address space         unlimited            unlimited            bytes\n",
            ),
        ];
        for (path, text) in usual.iter().chain(files) {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        MemoryLimit::read_below(root.path())
    }

    #[test]
    fn the_least_limit_counts_and_says_whose_it_is() {
        const SERVICE: &str = "0::/system.slice/announced.service\n";
        const OWN: &str = "sys/fs/cgroup/system.slice/announced.service/memory.max";
        type Row = (&'static str, &'static [(&'static str, &'static str)], u64, &'static str);
        let rows: [Row; 8] = [
            ("a machine without limits", &[], 8 * GIB, "8192 MiB (MemTotal)"),
            (
                "a control group",
                &[("proc/self/cgroup", SERVICE), (OWN, "1073741824\n")],
                GIB,
                "1024 MiB (memory.max of /system.slice/announced.service)",
            ),
            (
                "one that has no limit, in one that has",
                &[
                    ("proc/self/cgroup", SERVICE),
                    (OWN, "max\n"),
                    ("sys/fs/cgroup/system.slice/memory.max", "2147483648\n"),
                ],
                2 * GIB,
                "2048 MiB (memory.max of /system.slice)",
            ),
            (
                "a container, which sees its own group as the root",
                &[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1073741824\n")],
                GIB,
                "1024 MiB (memory.max of /)",
            ),
            (
                "a control group of version 1",
                &[
                    ("proc/self/cgroup", "4:cpu,cpuacct:/a\n5:memory:/a\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"),
                ],
                GIB,
                "1024 MiB (memory.limit_in_bytes of /a)",
            ),
            (
                "a control group larger than the machine",
                &[("proc/self/cgroup", SERVICE), (OWN, "1099511627776\n")],
                8 * GIB,
                "8192 MiB (MemTotal)",
            ),
            (
                "RLIMIT_AS",
                &[("proc/self/limits", "Max address space         420000000            x bytes\n")],
                420_000_000 - 100 * MIB,
                "300 MiB (RLIMIT_AS less what is mapped)",
            ),
            (
                "RLIMIT_DATA below what is there",
                &[("proc/self/limits", "Max data size             1000            x    bytes\n")],
                0,
                "0 MiB (RLIMIT_DATA less what is mapped)",
            ),
        ];
        for (name, files, bytes, told) in rows {
            let limit = read(files);
            assert_eq!(limit.bytes, bytes, "{name}");
            assert_eq!(limit.to_string(), told, "{name}");
        }
    }

    #[test]
    fn what_fills_the_caps_fits_into_half_of_the_limit() {
        for bytes in [64 * MIB, GIB, 24 * GIB] {
            let limit = MemoryLimit { bytes, of: String::new() };
            for (peer_ids, peer_bytes) in [(false, PEER_BYTES), (true, PEER_WITH_ID_BYTES)] {
                let Caps { torrents, peers } = limit.caps(peer_ids);
                let full_bytes = torrents * TORRENT_BYTES + peers * peer_bytes;
                assert!(full_bytes <= bytes / 2, "{full_bytes} of {bytes}, ids {peer_ids}");
                assert!(full_bytes > bytes * 49 / 100, "{full_bytes} of {bytes}, ids {peer_ids}");
            }
        }
        let none = MemoryLimit { bytes: 0, of: String::new() };
        assert_eq!(none.caps(true), Caps { torrents: CAP_MIN, peers: CAP_MIN }, "of no memory");
    }
}
