//! What a broker keeps when a load is over: files, memory, and what it does at rest.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use loadtest::cpu::{Memory, ProcessClock};
use serde::{Deserialize, Serialize};

/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

/// Before a broker is said to rest: what a load leaves behind is done by then.
const SETTLE: Duration = Duration::from_secs(1);

/// How long it is watched at rest.
const WATCH: Duration = Duration::from_secs(2);

/// What a broker's files take on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Files that hold messages for as long as these are needed: Shoal's logs, the original's
    /// queues.
    pub log_bytes: u64,
    /// Shoal's journals, which are made beforehand and used again.
    pub journal_bytes: u64,
}

/// A broker at rest.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rest {
    /// CPU time, as a share of one core.
    pub cpu_share: f64,
    /// Its memory.
    pub memory: Memory,
}

impl Disk {
    /// Of everything in a data path.
    pub fn of(data_path: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        for entry in fs::read_dir(data_path)? {
            let path = entry?.path();
            // A broker may delete a file while we look.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                let below = Self::of(&path)?;
                disk.log_bytes += below.log_bytes;
                disk.journal_bytes += below.journal_bytes;
                continue;
            }
            let bytes = metadata.blocks() * BLOCK_BYTES;
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("journal" | "spare") => disk.journal_bytes += bytes,
                Some("store") => disk.log_bytes += bytes,
                Some("dat") if path.to_string_lossy().contains(".diskqueue.") => {
                    disk.log_bytes += bytes;
                }
                _ => {}
            }
        }
        Ok(disk)
    }
}

/// Watches a process to which nothing happens.
pub fn rest(pid: u32) -> io::Result<Rest> {
    thread::sleep(SETTLE);
    let clock = ProcessClock::of(pid)?;
    let before_ns = clock.cpu_ns()?;
    thread::sleep(WATCH);
    let cpu_ns = clock.cpu_ns()? - before_ns;
    Ok(Rest { cpu_share: cpu_ns as f64 / WATCH.as_nanos() as f64, memory: clock.memory()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_journals_are_told_apart_and_other_files_left_out() {
        let folder = std::env::temp_dir().join(format!("perf-disk-{}", std::process::id()));
        fs::create_dir_all(folder.join("log")).unwrap();
        let put = |name: &str, kib: usize| {
            fs::write(folder.join(name), vec![1; kib * 1024]).unwrap();
        };
        put("log/0000000001.journal", 64);
        put("log/0000000002.store", 128);
        put("perf:perf.diskqueue.000000.dat", 256);
        put("perf.diskqueue.meta.dat", 0);
        put("nsqd.dat", 512);
        let disk = Disk::of(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((disk.log_bytes, disk.journal_bytes), (384 * 1024, 64 * 1024));
    }
}
