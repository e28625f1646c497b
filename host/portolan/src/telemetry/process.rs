//! What the system says about this process: memory, processor time, open files.
//!
//! **Invariant:** read anew for every scrape, from `/proc`; where there is none, nothing is told.

use std::fs;

/// What the system says about this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// Memory in RAM.
    pub(crate) resident_bytes: u64,
    /// Memory that it has addresses for.
    pub(crate) virtual_bytes: u64,
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// Files and sockets.
    pub(crate) open_files: usize,
    /// How many of those it may have; infinite where nothing limits them.
    pub(crate) max_files: f64,
}

impl Process {
    /// Asks the system; `None` where it has no `/proc`.
    pub(crate) fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            resident_bytes: bytes(&status, "VmRSS:")?,
            virtual_bytes: bytes(&status, "VmSize:")?,
            cpu_seconds: cpu_seconds(&stat)?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count(),
            max_files: max_files(&fs::read_to_string("/proc/self/limits").ok()?)?,
        })
    }
}

/// From `VmRSS:     1234 kB` (proc_pid_status(5)).
fn bytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
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

/// From `Max open files            1024                 524288               files`
/// (proc_pid_limits(5)): the first number is the one that holds.
fn max_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, cpu_seconds, max_files};

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmSize:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(2 * 1024 * 1024));
        assert_eq!(bytes(status, "VmSize:"), Some(4 * 1024 * 1024));
        assert_eq!(bytes("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_told() {
        let limits = |soft| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {soft}  524288  files\n")
        };
        assert_eq!(max_files(&limits("1024")), Some(1024.0));
        assert_eq!(max_files(&limits("unlimited")), Some(f64::INFINITY));
        assert_eq!(max_files("nonsense"), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
