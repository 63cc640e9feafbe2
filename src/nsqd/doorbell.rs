//! The doorbell of one worker: how any thread wakes it, at no cost while it is awake.
//!
//! A worker that is about to sleep says so ([`Doorbell::fall_asleep`]) and only then looks once
//! more whether somebody left work for it. A caller leaves work first and only then looks whether
//! the worker sleeps ([`Doorbell::ring`]). A sequentially consistent fence stands between the two
//! steps on both sides, so at least one of them sees what the other did, and a wake-up cannot get
//! lost. Only the caller that finds the worker asleep pays for a system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Wakes one worker. Clones ring the same bell; any thread may hold one.
#[derive(Clone, Debug)]
pub struct Doorbell {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    /// Written by whoever rings, polled by the worker's ring. Never read: the poll is
    /// edge-triggered, and a counter that grows by one per wake-up does not fill in 64 bits.
    eventfd: OwnedFd,
    /// Set by the worker before it sleeps; cleared by the first caller that rings, or by the
    /// worker itself when something else woke it.
    sleeping: AtomicBool,
}

impl Doorbell {
    /// A new bell; its worker counts as awake.
    ///
    /// # Errors
    ///
    /// When the process or the system has no file descriptor left.
    pub fn new() -> io::Result<Doorbell> {
        // SAFETY: eventfd takes no pointer; its result is checked below.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor that nobody else owns.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        let bell = Bell { eventfd, sleeping: AtomicBool::new(false) };
        Ok(Doorbell { bell: Arc::new(bell) })
    }

    /// Wakes the worker if it sleeps. What was left for it before this call is seen by it,
    /// whether it slept or not.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        // The plain load keeps the line shared while the worker is awake, which is the usual case.
        if self.bell.sleeping.load(Ordering::Relaxed)
            && self.bell.sleeping.swap(false, Ordering::AcqRel)
        {
            self.bell.strike();
        }
    }

    /// The worker's first step to sleep. After it, the worker must look once more for work that
    /// was left for it, and sleep only if there is none.
    pub fn fall_asleep(&self) {
        self.bell.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The worker is awake again: ringing costs no system call until it next falls asleep.
    pub fn stay_awake(&self) {
        self.bell.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether the worker said that it sleeps, and nobody has rung since.
    #[cfg(test)]
    pub fn is_asleep(&self) -> bool {
        self.bell.sleeping.load(Ordering::Relaxed)
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.eventfd.as_fd()
    }
}

impl Bell {
    fn strike(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, which is what an eventfd takes.
        let written =
            unsafe { libc::write(self.eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        // A non-blocking eventfd refuses only when its counter is full, and no signal interrupts
        // it; a bell that cannot be rung would be a shard that never wakes.
        assert_eq!(written, 8, "ringing a doorbell failed: {}", io::Error::last_os_error());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the bell was struck so far.
    fn strikes(bell: &Doorbell) -> u64 {
        let mut counter = [0_u8; 8];
        // SAFETY: `counter` is eight writable bytes.
        let read = unsafe { libc::read(bell.as_fd().as_raw_fd(), counter.as_mut_ptr().cast(), 8) };
        if read == 8 { u64::from_ne_bytes(counter) } else { 0 }
    }

    #[test]
    fn an_awake_worker_is_not_struck() {
        let bell = Doorbell::new().unwrap();
        bell.ring();
        assert_eq!(strikes(&bell), 0);
    }

    #[test]
    fn a_sleeper_is_struck_once() {
        let bell = Doorbell::new().unwrap();
        bell.fall_asleep();
        assert!(bell.is_asleep());
        bell.ring();
        bell.clone().ring();
        assert!(!bell.is_asleep());
        assert_eq!(strikes(&bell), 1);
    }

    #[test]
    fn who_stays_awake_is_not_struck() {
        let bell = Doorbell::new().unwrap();
        bell.fall_asleep();
        bell.stay_awake();
        bell.ring();
        assert_eq!(strikes(&bell), 0);
    }
}
