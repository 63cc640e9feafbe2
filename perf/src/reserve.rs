//! Memory kept warm for the brokers. A hypervisor that takes free memory back makes the first
//! touch of a page ten times as dear, and only for pages that lay free for long: a growing backlog
//! would then measure the host, and differently each time. So a reserve is touched once, makes way
//! just ahead of the broker while it grows, and is taken again when the broker's memory is free.
//!
//! All of that happens on the broker's core: the kernel keeps a list of freed pages for each core,
//! of a gigabyte if need be, and what another core has freed may lie there unseen.

use std::io;
use std::ptr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use loadtest::cpu::{self, ProcessClock};
use serde::{Deserialize, Serialize};

const MIB: usize = 1024 * 1024;

const HUGE_PAGE_BYTES: usize = 2 * MIB;

/// What lies free beyond the broker's resident memory: several looks' worth of the quickest
/// growth, and little, since the host takes back what lies free.
const AHEAD_BYTES: usize = 256 * MIB;

/// How often the broker's growth is looked at, which takes a little of its core's time.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The default is this, or a third of the available memory if that is less.
const DEFAULT_MAX_MIB: u64 = 6 * 1024;

/// Touched memory that nobody uses, to be given back when a broker needs it.
pub struct Reserve {
    /// As a number, since nothing is ever read or written through it.
    address: usize,
    bytes: usize,
    /// Of `bytes`, from the beginning, what is still held.
    held_bytes: usize,
    /// The broker's.
    core: usize,
}

/// What one measurement had of a reserve.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct WarmMemory {
    /// The whole reserve; 0 when there was none.
    pub reserve_mib: u64,
    /// What was given back while the broker ran.
    pub given_mib: u64,
}

impl WarmMemory {
    /// The broker went on to memory that may have been cold.
    pub fn is_used_up(&self) -> bool {
        self.reserve_mib > 0 && self.given_mib == self.reserve_mib
    }
}

/// The size that suits a machine with so much available memory.
pub fn default_mib(available_mib: u64) -> u64 {
    DEFAULT_MAX_MIB.min(available_mib / 3)
}

impl Reserve {
    /// Maps and touches so much memory for the brokers of a core; 0 is a reserve that does nothing.
    pub fn new(mib: u64, core: usize) -> io::Result<Self> {
        let bytes = usize::try_from(mib).map_err(io::Error::other)?.saturating_mul(MIB);
        let bytes = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).unwrap_or(usize::MAX);
        if bytes == 0 {
            return Ok(Self { address: 0, bytes, held_bytes: 0, core });
        }
        // One page more, to begin on a boundary: otherwise giving back would split huge pages.
        let mapped_bytes = bytes.saturating_add(HUGE_PAGE_BYTES);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping where the kernel chooses touches nothing of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), mapped_bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = start.addr().next_multiple_of(HUGE_PAGE_BYTES);
        let mut reserve = Self { address, bytes, held_bytes: 0, core };
        // A kernel without huge pages refuses; then small ones are kept warm.
        let _ = reserve.advise(0, bytes, libc::MADV_HUGEPAGE);
        reserve.take()?;
        Ok(reserve)
    }

    /// Its size.
    pub fn mib(&self) -> u64 {
        (self.bytes / MIB) as u64
    }

    /// What was given back since it was last taken.
    pub fn given(&self) -> WarmMemory {
        let given_mib = ((self.bytes - self.held_bytes) / MIB) as u64;
        WarmMemory { reserve_mib: self.mib(), given_mib }
    }

    /// Touches what was given back; quick while that is still warm.
    pub fn take(&mut self) -> io::Result<()> {
        let from = self.held_bytes;
        on_core(self.core, || self.advise(from, self.bytes, libc::MADV_POPULATE_WRITE))?;
        self.held_bytes = self.bytes;
        Ok(())
    }

    /// Gives back what a process of so many bytes needs, and a little beyond.
    pub fn make_way(&mut self, resident_bytes: usize) -> io::Result<()> {
        on_core(self.core, || self.give(resident_bytes))
    }

    fn give(&mut self, resident_bytes: usize) -> io::Result<()> {
        let given_bytes = resident_bytes.saturating_add(AHEAD_BYTES).min(self.bytes);
        let held_bytes = (self.bytes - given_bytes).next_multiple_of(HUGE_PAGE_BYTES);
        if held_bytes < self.held_bytes {
            self.advise(held_bytes, self.held_bytes, libc::MADV_DONTNEED)?;
            self.held_bytes = held_bytes;
        }
        Ok(())
    }

    /// Does `work` while making way for the process `pid` as it grows.
    pub fn beside<T>(&mut self, pid: u32, work: impl FnOnce() -> T) -> io::Result<T> {
        if self.bytes == 0 {
            return Ok(work());
        }
        let clock = ProcessClock::of(pid)?;
        let (ended, end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let follower = scope.spawn(move || -> io::Result<()> {
                cpu::pin_to_cores(&[self.core])?;
                while end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    // A broker that has ended grows no more; that it has is for others to say.
                    let Ok(memory) = clock.memory() else { break };
                    self.give(memory.rss_bytes as usize)?;
                }
                Ok(())
            });
            let result = work();
            drop(ended);
            outcome(follower)?;
            Ok(result)
        })
    }

    fn advise(&self, from: usize, to: usize, advice: libc::c_int) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        assert!(from < to && to <= self.bytes, "{from} to {to} is not within {}", self.bytes);
        let start = ptr::without_provenance_mut(self.address + from);
        // SAFETY: the range lies in the mapping, which nothing else knows of or reads.
        let rc = unsafe { libc::madvise(start, to - from, advice) };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Does `work` on a core, without moving the calling thread there.
fn on_core(core: usize, work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    thread::scope(|scope| outcome(scope.spawn(|| cpu::pin_to_cores(&[core]).and_then(|()| work()))))
}

fn outcome(thread: ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the reserve's thread panicked")))
}

impl Drop for Reserve {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: the mapping is this reserve's alone.
            unsafe { libc::munmap(ptr::without_provenance_mut(self.address), self.bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn resident_bytes() -> usize {
        let clock = ProcessClock::of(std::process::id()).unwrap();
        clock.memory().unwrap().rss_bytes as usize
    }

    #[test]
    fn a_reserve_is_resident_until_somebody_grows_and_again_after_it() {
        let before = resident_bytes();
        let mut reserve = Reserve::new(512, 0).unwrap();
        assert!(resident_bytes() > before + 500 * MIB);
        assert_eq!(reserve.given().given_mib, 0);
        reserve.make_way(100 * MIB).unwrap();
        assert_eq!(reserve.given().given_mib, 356);
        assert!(resident_bytes() < before + 200 * MIB);
        reserve.make_way(0).unwrap();
        assert_eq!(reserve.given().given_mib, 356, "what was given is not taken meanwhile");
        reserve.make_way(usize::MAX).unwrap();
        assert!(reserve.given().is_used_up());
        reserve.take().unwrap();
        assert!(resident_bytes() > before + 500 * MIB);
        assert!(!reserve.given().is_used_up());

        // This process, with the reserve in it, stands for a broker that is larger than that.
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_gone = || resident_bytes() < before + 100 * MIB;
        let work = || {
            while !is_gone() && Instant::now() < deadline {
                thread::sleep(LOOK_EVERY);
            }
            is_gone()
        };
        assert!(reserve.beside(std::process::id(), work).unwrap());
    }

    #[test]
    fn no_reserve_is_no_remark() {
        let mut none = Reserve::new(0, 0).unwrap();
        none.make_way(MIB).unwrap();
        none.take().unwrap();
        assert_eq!(none.beside(0, || 7).unwrap(), 7);
        assert!(!none.given().is_used_up());
        assert_eq!((default_mib(3000), default_mib(1 << 40)), (1000, DEFAULT_MAX_MIB));
    }
}
