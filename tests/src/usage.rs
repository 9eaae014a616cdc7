//! What a process takes of the machine, and bounds on it. Linux only, as is `/proc`.

use std::{fs, io};

use rustix::param::page_size;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// What a process takes at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

impl Usage {
    /// Of the process with this number.
    ///
    /// # Errors
    /// If there is no such process, or no `/proc`.
    pub fn of(process: u32) -> io::Result<Self> {
        let bad = || io::Error::other("an unknown form of /proc/PID/statm");
        let statm = fs::read_to_string(format!("/proc/{process}/statm"))?;
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).ok_or_else(bad)?;
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64;
        Ok(Self { resident_bytes: pages.saturating_mul(page_size() as u64), descriptors })
    }
}

/// Bounds the file descriptors that a running process may have open; those that are open stay so. `None` lifts the bound as
/// far as the process may itself.
///
/// # Errors
/// If there is no such process.
pub fn limit_descriptors(process: u32, most: Option<u64>) -> io::Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit { current: most.or(maximum), maximum };
    prlimit(pid, Resource::Nofile, wanted).map(drop).map_err(io::Error::from)
}

/// Lets this process, and those that it starts, open so many files.
///
/// # Errors
/// If the system does not let it.
pub fn may_open(files: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    let wanted = Rlimit { current: Some(files), maximum: limit.maximum };
    setrlimit(Resource::Nofile, wanted).map_err(io::Error::from)
}
