//! The end of a ring: nothing that the kernel still writes to may be freed, and no connection that
//! it accepted may be left without an owner.

use std::mem::{self, ManuallyDrop};

use super::Ring;
use super::key::Token;
use super::limits::{TEARDOWN_ROUND, TEARDOWN_ROUNDS};

impl Drop for Ring {
    /// Closes everything and waits, not for long, until the kernel is done. If that fails the
    /// buffers stay allocated for good, since the kernel may still write to them. Operations on
    /// files that have started are waited for like all others; those that have not never do.
    fn drop(&mut self) {
        for listener in 0..self.listeners.len() {
            self.stop_accept(listener);
        }
        for key in self.sockets.keys() {
            self.close(key);
        }
        if self.doorbell_poll.armed {
            self.doorbell_poll.cancelling = true;
            self.cancel(Token::of_doorbell());
        }
        self.files.abandon();
        if self.wait_until_done() {
            // SAFETY: the buffers are dropped once, here, and no request can touch them.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        } else {
            mem::forget(mem::take(&mut self.files));
        }
    }
}

impl Ring {
    /// Waits for the kernel; false if it takes too long.
    fn wait_until_done(&mut self) -> bool {
        for _ in 0..TEARDOWN_ROUNDS {
            // An unowned connection in a late completion is closed by dropping its event.
            while self.events(|event| drop(event)) {
                self.files.abandon();
            }
            if !self.in_flight() {
                return true;
            }
            if self.queue.wait(Some(TEARDOWN_ROUND)).is_err() {
                return false;
            }
        }
        false
    }

    fn in_flight(&self) -> bool {
        let listening = self.listeners.iter().any(|listener| listener.accept.in_flight());
        listening
            || self.doorbell_poll.in_flight()
            || self.sockets.in_flight()
            || self.files.in_flight()
    }
}
