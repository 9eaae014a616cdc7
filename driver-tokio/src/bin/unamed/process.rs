//! What this process takes of its machine, where the system tells it (Linux, by `/proc`).

use std::fs;

/// What a process takes; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory, bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(crate) open_descriptors: Option<u64>,
    /// The bound on them.
    pub(crate) descriptors_max: Option<u64>,
}

/// What this process takes.
pub(crate) fn usage() -> Usage {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    Usage {
        resident_bytes: resident(&read("status")),
        open_descriptors: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
        descriptors_max: descriptors_max(&read("limits")),
    }
}

/// The line `VmRSS:  1234 kB` of `status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft bound in the line `Max open files  1024  1048576  files` of `limits`.
fn descriptors_max(limits: &str) -> Option<u64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        assert_eq!(resident("Name:\tunamed\nVmRSS:\t   5120 kB\n"), Some(5120 * 1024));
        assert_eq!(resident("Name:\tunamed\n"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024        1048576      files\n";
        assert_eq!(descriptors_max(limits), Some(1024));
        assert_eq!(descriptors_max(""), None);
    }
}
