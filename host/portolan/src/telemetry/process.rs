//! What the system says about this process: memory, processor time, open files.
//!
//! **Invariant:** read anew for every scrape, from `/proc`; where there is none, nothing is told.

use std::fs;

/// What the system says about this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// Memory in RAM.
    pub(crate) resident_bytes: u64,
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// Files and sockets.
    pub(crate) open_files: usize,
}

impl Process {
    /// Asks the system; `None` where it has no `/proc`.
    pub(crate) fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            resident_bytes: resident_bytes(&status)?,
            cpu_seconds: cpu_seconds(&stat)?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count(),
        })
    }
}

/// From `VmRSS:     1234 kB` (proc_pid_status(5)).
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// From fields 14 and 15 (proc_pid_stat(5)), in ticks, of which Linux shows 100 per second.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the name in parentheses, which may hold spaces and parentheses itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, resident_bytes};

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
