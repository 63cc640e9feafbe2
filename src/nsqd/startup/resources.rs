//! The process's limits: files that may be open, memory that may be locked.
//!
//! Soft limits are raised to the hard ones at start. `io_uring` counts its rings as locked memory
//! (unless the process has CAP_IPC_LOCK), and glommio refuses to start below 512 KiB in any case.

use std::io;

use super::memory::size_text;
use crate::nsqd::disk::limits::IDLE_OPEN_FILES_MAX;

/// What glommio insists on.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Locked memory of one glommio executor with three rings of depth 128 (measured: 40 fit 8 MiB).
const EXECUTOR_BYTES: u64 = 205 << 10;
/// Locked memory of a shard's own ring and its buffers' ring.
const SHARD_RING_BYTES: u64 = 128 << 10;
/// Executors that are neither shards nor acceptors.
const OTHER_EXECUTORS: u64 = 1;
/// Open files below which a broker soon has too few.
const NOFILE_COMFORTABLE: u64 = 4096;
/// Connections for which there should be room in any case.
const CONNECTIONS_COMFORTABLE: u64 = 1024;
/// Files of the process as a whole: log, lock, signals, listeners, `nsqd.dat`, a file being made.
const PROCESS_FILES: u64 = 32;
/// Files of one executor: glommio's rings and eventfds, a shard's own ring and doorbell.
const EXECUTOR_FILES: u64 = 16;
/// Store files that a shard has written to and not synced, or reads from just now.
const BUSY_STORE_FILES: u64 = 16;

const MEMLOCK_REMEDY: &str = "set LimitMEMLOCK=infinity in the systemd unit, --ulimit memlock=-1 \
                              for a container, or memlock in /etc/security/limits.conf";
const NOFILE_REMEDY: &str = "set LimitNOFILE=1048576 in the systemd unit, --ulimit nofile=1048576 \
                             for a container, or nofile in /etc/security/limits.conf";

/// The limits of this process after they were raised; `None` stands for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Files that may be open at once.
    pub open_files: Option<u64>,
    /// Memory that may be locked.
    pub memlock_bytes: Option<u64>,
    /// Whether locked memory is counted at all for this process.
    pub memlock_counts: bool,
}

/// Raises the soft limits to the hard ones, and locked memory to no limit where that is allowed.
pub fn raise() -> Result<Resources, String> {
    let nofile = raise_to_hard(libc::RLIMIT_NOFILE)
        .map_err(|error| format!("cannot raise the limit on open files: {error}"))?;
    let memlock = match set(libc::RLIMIT_MEMLOCK, libc::RLIM_INFINITY, libc::RLIM_INFINITY) {
        Ok(()) => libc::RLIM_INFINITY,
        Err(_) => raise_to_hard(libc::RLIMIT_MEMLOCK)
            .map_err(|error| format!("cannot raise the limit on locked memory: {error}"))?,
    };
    Ok(Resources {
        open_files: finite(nofile),
        memlock_bytes: finite(memlock),
        memlock_counts: !has_ipc_lock(),
    })
}

impl Resources {
    /// Complains about limits that are too low: an error where nothing would run, else warnings.
    /// Each shard has so many journal files.
    pub fn check(
        &self,
        shards: usize,
        acceptors: usize,
        journal_files: usize,
    ) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        if let Some(bytes) = self.memlock_bytes {
            let have = size_text(bytes);
            if bytes < MEMLOCK_BYTES_MIN {
                let least = size_text(MEMLOCK_BYTES_MIN);
                return Err(format!(
                    "only {have} of memory may be locked and io_uring needs at least {least}: \
                     {MEMLOCK_REMEDY}"
                ));
            }
            let need = memlock_needed(shards, acceptors);
            if self.memlock_counts && bytes < need {
                let need = size_text(need);
                warnings.push(format!(
                    "only {have} of memory may be locked and {shards} shards need about {need}: \
                     if they fail to start, {MEMLOCK_REMEDY}, or set fewer --shards"
                ));
            }
        }
        let own = own_files(shards, acceptors, journal_files);
        let comfortable = NOFILE_COMFORTABLE.max(own + CONNECTIONS_COMFORTABLE);
        if let Some(files) = self.open_files.filter(|&files| files < comfortable) {
            let connections = files.saturating_sub(own);
            warnings.push(format!(
                "only {files} files may be open, room for about {connections} connections: \
                 {NOFILE_REMEDY}"
            ));
        }
        Ok(warnings)
    }

    /// The limits in one line of the log.
    pub fn line(&self) -> String {
        let files = self.open_files.map_or("any number of".to_owned(), |files| files.to_string());
        let memlock = self.memlock_bytes.map_or("any amount".to_owned(), size_text);
        format!("LIMITS: {files} open files, {memlock} of locked memory")
    }
}

fn memlock_needed(shards: usize, acceptors: usize) -> u64 {
    let (shards, acceptors) = (shards as u64, acceptors as u64);
    (shards + acceptors + OTHER_EXECUTORS) * EXECUTOR_BYTES + shards * SHARD_RING_BYTES
}

/// The most files that are open besides connections. Journal files stay open as long as they are
/// in use; of the others a shard keeps a bounded number.
fn own_files(shards: usize, acceptors: usize, journal_files: usize) -> u64 {
    let (shards, acceptors) = (shards as u64, acceptors as u64);
    let of_shard = journal_files as u64 + IDLE_OPEN_FILES_MAX as u64 + BUSY_STORE_FILES;
    PROCESS_FILES + (shards + acceptors + OTHER_EXECUTORS) * EXECUTOR_FILES + shards * of_shard
}

fn finite(limit: libc::rlim_t) -> Option<u64> {
    (limit != libc::RLIM_INFINITY).then_some(limit)
}

fn raise_to_hard(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlim_t> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is that of a live, writable limit.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur != limit.rlim_max {
        set(resource, limit.rlim_max, limit.rlim_max)?;
    }
    Ok(limit.rlim_max)
}

fn set(
    resource: libc::__rlimit_resource_t,
    soft: libc::rlim_t,
    hard: libc::rlim_t,
) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer is that of a live limit, which the kernel only reads.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether the process may lock any amount of memory.
fn has_ipc_lock() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ipc_lock_in(&status))
}

fn ipc_lock_in(status: &str) -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::{Resources, ipc_lock_in, memlock_needed, own_files, raise};

    fn resources(open_files: Option<u64>, memlock_bytes: Option<u64>) -> Resources {
        Resources { open_files, memlock_bytes, memlock_counts: true }
    }

    #[test]
    fn enough_is_not_mentioned() {
        assert_eq!(resources(None, None).check(64, 1, 4), Ok(vec![]));
        assert_eq!(resources(Some(20_000), Some(8 << 20)).check(2, 1, 16), Ok(vec![]));
    }

    #[test]
    fn too_little_locked_memory_is_an_error_with_its_remedy() {
        let error = resources(None, Some(64 << 10)).check(1, 1, 32).unwrap_err();
        assert!(error.starts_with("only 64 KiB of memory may be locked"), "{error}");
        assert!(error.contains("at least 512 KiB") && error.contains("LimitMEMLOCK"), "{error}");
        assert!(resources(None, Some(512 << 10)).check(1, 1, 32).is_ok());
    }

    #[test]
    fn perhaps_too_little_is_a_warning() {
        let tight = resources(Some(256), Some(8 << 20));
        let warnings = tight.check(64, 1, 4).unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("64 shards need about 21.2 MiB"), "{warnings:?}");
        assert!(warnings[1].starts_with("only 256 files may be open"), "{warnings:?}");
        let exempt = Resources { memlock_counts: false, ..tight };
        assert_eq!(exempt.check(64, 1, 4).unwrap().len(), 1);
        assert_eq!(memlock_needed(1, 1), (3 * 205 + 128) << 10);
    }

    #[test]
    fn data_files_count() {
        assert_eq!(own_files(1, 1, 32), 32 + 3 * 16 + 32 + 64 + 16);
        let warnings = resources(Some(1200), None).check(2, 1, 16).unwrap();
        let room = 1200 - own_files(2, 1, 16);
        assert!(warnings[0].contains(&format!("about {room} connections")), "{warnings:?}");
        // So many shards need more than is comfortable for few.
        assert_eq!(resources(Some(4096), None).check(64, 1, 4).unwrap().len(), 1);
        assert_eq!(resources(Some(4096), None).check(8, 1, 4), Ok(vec![]));
    }

    #[test]
    fn capabilities_are_read() {
        assert!(ipc_lock_in("Name:\tx\nCapEff:\t000001fffeffffff\n"));
        assert!(!ipc_lock_in("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n"));
    }

    #[test]
    fn soft_limits_end_at_the_hard_ones() {
        let first = raise().unwrap();
        assert_eq!(raise().unwrap(), first);
        assert!(first.line().starts_with("LIMITS: "));
    }
}
