//! What the system says of this process, for the metrics that every exporter has.
//!
//! Owns: reading `/proc/self`. Where it cannot be read there is nothing to say, and no error.

use procfs::process::{LimitValue, Process};

/// See the module.
pub(super) struct ProcessFigures {
    pub(super) cpu_s: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
}

/// As it stands now.
pub(super) fn read() -> Option<ProcessFigures> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let max_fds = match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Unlimited => u64::MAX,
        LimitValue::Value(value) => value,
    };
    Some(ProcessFigures {
        cpu_s: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        open_fds: process.fd_count().ok()? as u64,
        max_fds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let figures = read().unwrap();
        assert!(figures.resident_bytes > 1 << 20, "{} bytes", figures.resident_bytes);
        assert!(figures.virtual_bytes >= figures.resident_bytes, "{}", figures.virtual_bytes);
        assert!(figures.open_fds >= 3 && figures.open_fds <= figures.max_fds);
    }
}
