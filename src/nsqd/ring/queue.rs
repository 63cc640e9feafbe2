//! The two queues between a ring and the kernel, and the one system call that moves both.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, cqueue, squeue};

use super::buffers::BufferRing;
use super::key::Token;
use super::limits::{COMPLETIONS_PER_ENTRY, SLEEP_MAX};

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub token: Token,
    /// What the system call would have returned, an error as a negative number.
    pub result: i32,
    /// The request goes on and will complete again.
    pub more: bool,
    /// The receive buffer that came with it.
    pub buffer: Option<u16>,
}

/// Requests out, completions in.
pub(super) struct Queue {
    ring: IoUring,
    /// Requests that found the submission queue full and the kernel unable to take any. In order,
    /// and ahead of every later request.
    delayed: VecDeque<squeue::Entry>,
    wait_flags: EnterFlags,
}

impl Queue {
    /// Sets the ring up on the thread that will use it.
    pub fn new(entries: u32) -> io::Result<Queue> {
        let ring =
            match Self::builder(entries).setup_single_issuer().setup_defer_taskrun().build(entries)
            {
                // A kernel that does not know deferred task work (before 6.1) calls it invalid.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    Self::builder(entries).build(entries)?
                }
                result => result?,
            };
        let mut wait_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            // An idle shard is idle, not waiting for a disk.
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Queue { ring, delayed: VecDeque::new(), wait_flags })
    }

    fn builder(entries: u32) -> Builder {
        let mut builder = IoUring::builder();
        builder
            .setup_cqsize(entries.saturating_mul(COMPLETIONS_PER_ENTRY))
            .setup_clamp()
            .setup_submit_all()
            .setup_coop_taskrun()
            .setup_taskrun_flag();
        builder
    }

    /// Shares receive buffers with the kernel; they must stay until nothing is in flight.
    pub fn register_buffers(&self, buffers: &BufferRing) -> io::Result<()> {
        // SAFETY: the owner keeps `buffers` until every request has completed, or for ever.
        unsafe {
            self.ring.submitter().register_buf_ring_with_flags(
                buffers.address(),
                buffers.count(),
                BufferRing::GROUP,
                0,
            )
        }
    }

    /// The features and limits that the kernel granted.
    pub fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// Hands in a request; the kernel gets it with the next system call, or with one now when
    /// the queue is full. It is never lost.
    pub fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.to_u64());
        if self.delayed.is_empty() {
            if self.try_push(&entry) {
                return;
            }
            // An error here shows again at the next wait, where it is reported.
            let _ = self.enter(0, None);
            if self.try_push(&entry) {
                return;
            }
        }
        self.delayed.push_back(entry);
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: a request names a descriptor and memory (a registered buffer, or the buffer of an
        // operation on a file), which their owners keep until the request has completed.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Moves delayed requests into the submission queue; true if none is left.
    fn refill(&mut self) -> bool {
        while let Some(entry) = self.delayed.pop_front() {
            if !self.try_push(&entry) {
                self.delayed.push_front(entry);
                return false;
            }
        }
        true
    }

    /// Submits what is pending and takes over what completed meanwhile, without waiting, and
    /// without a system call when neither is there.
    pub fn poll(&mut self) -> io::Result<()> {
        let submission = self.ring.submission();
        let nothing = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
        drop(submission);
        if nothing && self.delayed.is_empty() {
            return Ok(());
        }
        self.flush()?;
        self.enter(0, None)
    }

    /// Submits what is pending and waits until something completed or `timeout` is over.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.flush()? { self.enter(1, timeout) } else { self.enter(0, None) }
    }

    /// Submits until all delayed requests are in the queue; false if the kernel takes no more.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.refill() {
            let before = self.delayed.len();
            self.enter(0, None)?;
            if self.refill() {
                break;
            }
            if self.delayed.len() == before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn enter(&mut self, completions_min: u32, timeout: Option<Duration>) -> io::Result<()> {
        let pending = self.ring.submission().len() as u32;
        let until = timeout.map(|timeout| Timespec::from(timeout.min(SLEEP_MAX)));
        let args = match &until {
            Some(until) => SubmitArgs::new().timespec(until),
            None => SubmitArgs::new(),
        };
        let flags = self.wait_flags.bits();
        // SAFETY: `args` and the time that it points to live until the call returns, and the
        // requests that are submitted keep to what `try_push` promises.
        let entered =
            unsafe { self.ring.submitter().enter(pending, completions_min, flags, Some(&args)) };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => Ok(()),
            // Time is up, a signal came, or completions must be taken before the kernel can go
            // on: in each case the caller looks at its events and comes back.
            Err((Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    /// The next completion that is there already.
    pub fn next(&mut self) -> Option<Completion> {
        let entry = self.ring.completion().next()?;
        Some(Completion {
            token: Token::from_u64(entry.user_data()),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
            buffer: cqueue::buffer_select(entry.flags()),
        })
    }

    /// Whether completions are there to be taken.
    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::thread;

    use io_uring::opcode::Nop;

    /// A ring refuses to take requests from a foreign thread, which stands here for every time at
    /// which the kernel takes none.
    #[test]
    fn a_request_that_the_kernel_refuses_is_kept_in_order() {
        let mut queue = Queue::new(1).unwrap();
        if queue.ring().params().is_setup_single_issuer() {
            thread::scope(|scope| {
                scope.spawn(|| (0..10).for_each(|slot| push_nop(&mut queue, slot)));
            });
            assert!(!queue.delayed.is_empty(), "nothing was refused");
        }
        push_nop(&mut queue, 10);
        let mut completed = Vec::new();
        while completed.len() < 11 {
            queue.wait(Some(Duration::from_secs(10))).unwrap();
            while let Some(completion) = queue.next() {
                completed.push(completion.token.slot);
            }
        }
        assert!(completed.into_iter().eq(0..11));
        assert!(queue.delayed.is_empty());
    }

    fn push_nop(queue: &mut Queue, slot: u32) {
        queue.push(Nop::new().build(), Token::of_listener(slot));
    }
}
