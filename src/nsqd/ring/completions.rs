//! From completions to events: what each means for its socket or listener, and what follows.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::key::{Operation, SocketKey, Token};
use super::limits::EVENTS_PER_CALL_MAX;
use super::queue::Completion;
use super::{Event, Reading, Ring};

impl Ring {
    /// Tells `emit` what happened since the last call, up to a bound, in the order in which it
    /// happened. True if there is more already.
    pub fn events(&mut self, mut emit: impl FnMut(Event<'_>)) -> bool {
        for _ in 0..EVENTS_PER_CALL_MAX {
            let Some(completion) = self.queue.next() else {
                break;
            };
            self.complete(completion, &mut emit);
        }
        self.feed_starved();
        self.has_more()
    }

    fn complete(&mut self, completion: Completion, emit: &mut impl FnMut(Event<'_>)) {
        let token = completion.token;
        match (token.operation, token.cancel) {
            (Operation::Receive, false) => self.received(completion, emit),
            (Operation::Writable, false) => self.writable(token.socket(), emit),
            (Operation::Accept, false) => self.accepted(completion, emit),
            (Operation::Doorbell, false) => self.rung(completion, emit),
            (Operation::File, false) => self.file_completed(token.slot, completion.result),
            (_, true) => self.cancelled(token, completion.result),
        }
    }

    /// A receive brought bytes, ended, or both. The socket's state is settled before the caller
    /// hears of it, so that a caller who panics leaves a ring that works.
    fn received(&mut self, completion: Completion, emit: &mut impl FnMut(Event<'_>)) {
        let key = completion.token.socket();
        let result = completion.result;
        if !completion.more {
            self.receive_ended(key, result);
        }
        let socket = self.sockets.of_completion(key);
        let present = !socket.leaving;
        let failed = result < 0 && socket.finished;
        let quiet = !socket.receive.armed && std::mem::take(&mut socket.quiet_owed);
        self.sockets.free_if_done(key);
        if let Some(id) = completion.buffer {
            let bytes = self.buffers.lend(id, usize::try_from(result).unwrap_or(0));
            self.traffic_bytes[0] += bytes.len() as u64;
            if present && !bytes.is_empty() {
                emit(Event::Received { socket: key, bytes: &bytes });
            }
        }
        if !present {
            return;
        }
        if result == 0 {
            emit(Event::Ended { socket: key });
        } else if failed {
            emit(Event::Failed { socket: key, error: io::Error::from_raw_os_error(-result) });
        }
        if quiet {
            emit(Event::Quiet { socket: key });
        }
    }

    /// The kernel receives no longer: decides whether to go on at once, later, or not at all.
    fn receive_ended(&mut self, key: SocketKey, result: i32) {
        let socket = self.sockets.of_completion(key);
        socket.receive.armed = false;
        let mut starving = false;
        match -result {
            // Bytes, and the end of a single reading or of one that the kernel cut short.
            ..0 if socket.reading == Reading::Single => socket.wanted = false,
            ..0 | libc::ECANCELED | libc::EINTR => {}
            libc::ENOBUFS => starving = true,
            _ => socket.finished = true,
        }
        if socket.finished {
            socket.wanted = false;
        }
        if !socket.wanted || socket.leaving {
            return;
        }
        if !starving {
            self.arm_receive(key);
            return;
        }
        let queued = std::mem::replace(&mut socket.starved, true);
        self.sockets.starvations += 1;
        if !queued {
            self.sockets.starved.push_back(key);
        }
    }

    /// Lets sockets receive again that found no buffer, oldest first, and no more of them at a
    /// time than there are buffers: the others would only come back empty-handed.
    ///
    /// Every buffer that was filled before the kernel ran out has been lent and given back by now,
    /// since completions are taken in order; so each round makes progress.
    fn feed_starved(&mut self) {
        for _ in 0..self.buffers.count() {
            let Some(key) = self.sockets.starved.pop_front() else {
                break;
            };
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            socket.starved = false;
            if socket.wanted && !socket.receive.armed {
                self.arm_receive(key);
            }
        }
    }

    fn writable(&mut self, key: SocketKey, emit: &mut impl FnMut(Event<'_>)) {
        let socket = self.sockets.of_completion(key);
        socket.writable.armed = false;
        let present = !socket.leaving;
        self.sockets.free_if_done(key);
        if present {
            emit(Event::Writable { socket: key });
        }
    }

    fn accepted(&mut self, completion: Completion, emit: &mut impl FnMut(Event<'_>)) {
        let listener = completion.token.slot as usize;
        let listening = &mut self.listeners[listener];
        let wanted = listening.wanted;
        if !completion.more {
            listening.accept.armed = false;
            listening.close_if_done();
        }
        let go_on = completion.result >= 0 || is_passing(-completion.result);
        if wanted && !completion.more && go_on {
            self.arm_accept(listener);
        }
        if completion.result >= 0 {
            // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(completion.result) };
            if wanted {
                emit(Event::Accepted { listener, socket });
            }
        } else if wanted && !go_on {
            let error = io::Error::from_raw_os_error(-completion.result);
            emit(Event::AcceptPaused { listener, error });
        }
    }

    fn rung(&mut self, completion: Completion, emit: &mut impl FnMut(Event<'_>)) {
        if !completion.more {
            self.doorbell_poll.armed = false;
            // Only a ring that ends cancels it; otherwise the kernel was short of room.
            if completion.result != -libc::ECANCELED {
                self.arm_doorbell();
            }
        }
        emit(Event::Doorbell);
    }

    /// A cancel is through. The operation that it was for completed before it or does so next,
    /// unless the cancel missed it: a receive that was armed anew while its cancel was under way
    /// is cancelled again.
    fn cancelled(&mut self, token: Token, result: i32) {
        let key = token.socket();
        match token.operation {
            Operation::Receive => {
                let socket = self.sockets.of_completion(key);
                socket.receive.cancelling = false;
                if result < 0 && socket.receive.armed && !socket.wanted {
                    self.cancel_receive(key);
                }
                self.sockets.free_if_done(key);
            }
            Operation::Writable => {
                self.sockets.of_completion(key).writable.cancelling = false;
                self.sockets.free_if_done(key);
            }
            Operation::Accept => {
                let listener = &mut self.listeners[token.slot as usize];
                listener.accept.cancelling = false;
                listener.close_if_done();
            }
            Operation::Doorbell => self.doorbell_poll.cancelling = false,
            Operation::File => unreachable!("an operation on a file is never cancelled"),
        }
    }
}

/// Whether an error of accept concerns only the connection that was about to come in.
fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::ECANCELED)
}
