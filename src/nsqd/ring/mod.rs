//! A shard's own `io_uring`: sockets, listeners, files and the doorbell, all from one thread.
//!
//! Received bytes arrive in buffers that all connections share, picked by the kernel when there is
//! something to put into them; one request per connection keeps receiving until it is paused.
//! Sending is a plain `send` that never waits. The ring knows nothing of what the bytes mean.
//!
//! One turn of a shard is [`Ring::wait`] (or [`Ring::poll`]), [`Ring::events`], and then calls with
//! the keys that the events named. What can go wrong, and where it is dealt with:
//! - the kernel has more to say than fits its queue: it keeps the rest and ends what was receiving,
//!   which is armed again (`completions.rs`);
//! - all buffers are filled: receives end, and start again when buffers came back, oldest first
//!   (`completions.rs`);
//! - the kernel takes no more requests just now: they wait, in order (`queue.rs`);
//! - a socket is closed or handed over while the kernel works for it: its slot and descriptor stay
//!   until the kernel is done (`socket.rs`), so that a late completion never meets a stranger;
//! - the process runs out of descriptors: accepting pauses until the caller resumes it;
//! - a file takes or gives only a part of what was asked for: the rest is asked for again
//!   (`files.rs`).

mod buffers;
mod completions;
mod files;
mod key;
pub mod limits;
mod probe;
mod queue;
mod requests;
mod socket;
mod teardown;
#[cfg(test)]
mod tests;

use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::SockRef;

use super::doorbell::Doorbell;
use buffers::BufferRing;
use files::Files;
pub use files::{FileDone, FileOutcome};
pub use key::SocketKey;
use key::Token;
pub use probe::probe;
use queue::Queue;
pub use socket::Reading;
use socket::{Listener, Request, Sockets};

/// How large a ring is made.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Requests that go to the kernel in one step; the kernel rounds up to a power of two.
    pub entries: u32,
    /// Receive buffers shared by all connections; a power of two.
    pub buffers: u16,
    /// Bytes of each receive buffer.
    pub buffer_bytes: usize,
}

impl Default for RingOptions {
    fn default() -> RingOptions {
        RingOptions {
            entries: limits::ENTRIES,
            buffers: limits::BUFFERS,
            buffer_bytes: limits::BUFFER_BYTES,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection came in. It never blocks and is closed on exec.
    Accepted {
        /// The listener's index.
        listener: usize,
        /// The connection, now the caller's.
        socket: OwnedFd,
    },
    /// A listener accepts nothing more until [`Ring::resume_accept`], usually because descriptors
    /// have run out. Resume it after a while, not at once.
    AcceptPaused {
        /// The listener's index.
        listener: usize,
        /// Why.
        error: io::Error,
    },
    /// Bytes arrived.
    Received {
        /// Where.
        socket: SocketKey,
        /// Valid in the callback only.
        bytes: &'a [u8],
    },
    /// The peer sends nothing more. The socket stays open for sending.
    Ended {
        /// Which socket.
        socket: SocketKey,
    },
    /// Reading failed and will not go on; closing the socket is all that is left.
    Failed {
        /// Which socket.
        socket: SocketKey,
        /// How.
        error: io::Error,
    },
    /// The socket takes bytes again, or has failed, which the next send will tell.
    Writable {
        /// Which socket.
        socket: SocketKey,
    },
    /// Reading stopped as asked: nothing more is received until [`Ring::resume`].
    Quiet {
        /// Which socket.
        socket: SocketKey,
    },
    /// The doorbell woke the ring.
    Doorbell,
}

/// The ring of one shard. It stays on the thread that made it.
pub struct Ring {
    queue: Queue,
    /// Dropped last, and only when the kernel has let go of them (see `teardown.rs`).
    buffers: ManuallyDrop<BufferRing>,
    buffer_bytes: usize,
    sockets: Sockets,
    listeners: Vec<Listener>,
    /// Left to the kernel for good if it works on any when the ring ends, as the buffers are.
    files: Files,
    doorbell: Doorbell,
    doorbell_poll: Request,
    /// Received and sent.
    traffic_bytes: [u64; 2],
}

impl Ring {
    /// Makes a ring that `doorbell` wakes, for the calling thread.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says; [`probe`] puts it into words.
    pub fn new(options: &RingOptions, doorbell: Doorbell) -> io::Result<Ring> {
        let queue = Queue::new(options.entries)?;
        let buffers = BufferRing::new(options.buffers, options.buffer_bytes)?;
        queue.register_buffers(&buffers)?;
        let mut ring = Ring {
            queue,
            buffers: ManuallyDrop::new(buffers),
            buffer_bytes: options.buffer_bytes,
            sockets: Sockets::default(),
            listeners: Vec::new(),
            files: Files::default(),
            doorbell,
            doorbell_poll: Request::default(),
            traffic_bytes: [0, 0],
        };
        ring.arm_doorbell();
        Ok(ring)
    }

    /// Accepts connections from a listening socket, and returns the index by which events name it.
    pub fn listen(&mut self, listener: OwnedFd) -> usize {
        self.listeners.push(Listener {
            fd: Some(listener),
            accept: Request::default(),
            wanted: true,
        });
        let index = self.listeners.len() - 1;
        self.arm_accept(index);
        index
    }

    /// Accepts again after [`Event::AcceptPaused`].
    pub fn resume_accept(&mut self, listener: usize) {
        let listening = &self.listeners[listener];
        if listening.wanted && !listening.accept.armed {
            self.arm_accept(listener);
        }
    }

    /// Accepts no more and closes the listener. A connection that the kernel accepted meanwhile is
    /// closed.
    pub fn stop_accept(&mut self, listener: usize) {
        let listening = &mut self.listeners[listener];
        if !listening.wanted {
            return;
        }
        listening.wanted = false;
        if listening.accept.armed && !listening.accept.cancelling {
            listening.accept.cancelling = true;
            self.cancel(Token::of_listener(listener as u32));
        }
        self.listeners[listener].close_if_done();
    }

    /// Takes a connected socket in. [`Reading::Continuous`] starts to receive at once;
    /// [`Reading::Single`] waits for [`Ring::resume`].
    pub fn add(&mut self, socket: OwnedFd, reading: Reading) -> SocketKey {
        let key = self.sockets.insert(socket, reading);
        if reading == Reading::Continuous {
            self.resume(key);
        }
        key
    }

    /// Stops reading a socket. True if it is quiet already; otherwise [`Event::Quiet`] follows,
    /// after whatever arrives before it.
    pub fn pause(&mut self, key: SocketKey) -> bool {
        let Some(socket) = self.sockets.get(key) else {
            return true;
        };
        socket.wanted = false;
        if !socket.receive.armed {
            return true;
        }
        socket.quiet_owed = true;
        self.cancel_receive(key);
        false
    }

    /// Reads a socket (again): until paused, or once, as it was added. Takes back a pause that has
    /// not led to [`Event::Quiet`] yet.
    pub fn resume(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.finished {
            return;
        }
        socket.wanted = true;
        socket.quiet_owed = false;
        if !socket.receive.armed {
            self.arm_receive(key);
        }
    }

    /// Takes a quiet socket out of the ring, to be handed to another. `None` if it is not quiet
    /// (see [`Ring::pause`]) or not there.
    pub fn take(&mut self, key: SocketKey) -> Option<OwnedFd> {
        let socket = self.sockets.get(key)?;
        if socket.wanted || socket.receive.armed {
            return None;
        }
        let fd = socket.fd.take();
        if socket.writable.armed {
            self.cancel_writable(key);
            // The kernel resolves the descriptor's number when it gets the request, so it gets it
            // before the new owner can close the descriptor. Should it refuse just now, the worst
            // is a poll on a stranger, cancelled in the same breath and never reported.
            let _ = self.queue.poll();
        }
        self.sockets.leave(key);
        fd
    }

    /// Sends what the socket takes without waiting, and returns how much that was: 0 when it takes
    /// nothing now (see [`Ring::want_writable`]).
    ///
    /// # Errors
    ///
    /// The socket's own; `NotConnected` for a key without a socket.
    pub fn send(&mut self, key: SocketKey, bytes: &[u8]) -> io::Result<usize> {
        let fd = self.sockets.get(key).and_then(|socket| socket.raw_fd());
        let Some(fd) = fd else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        loop {
            // SAFETY: `bytes` is readable for its length, and `fd` is open while the ring owns it.
            let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
            if let Ok(sent) = usize::try_from(sent) {
                self.traffic_bytes[1] += sent as u64;
                return Ok(sent);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(error),
            }
        }
    }

    /// The address at our end of a connection; none for a unix socket.
    pub fn local_address(&mut self, key: SocketKey) -> Option<SocketAddr> {
        let socket = self.sockets.get(key)?;
        SockRef::from(socket.fd.as_ref()?).local_addr().ok()?.as_socket()
    }

    /// Asks for one [`Event::Writable`] when the socket takes bytes again.
    pub fn want_writable(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if !socket.writable.armed {
            self.arm_writable(key);
        }
    }

    /// Tells the peer that nothing more will be sent; what it sends is still received. To close
    /// after an error reply, do this and close at [`Event::Ended`]: closing at once, with bytes of
    /// the peer unread, can destroy the reply on its way.
    pub fn end_sending(&mut self, key: SocketKey) {
        self.shut_down(key, libc::SHUT_WR);
    }

    /// Closes a socket: the peer learns at once, no event for it follows, and its slot is free
    /// when the kernel is done with it.
    pub fn close(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.wanted = false;
        let (receiving, polling) = (socket.receive.armed, socket.writable.armed);
        // A descriptor with requests in flight stays open for a while; without them it is closed
        // below, which tells the peer as well.
        if receiving || polling {
            self.shut_down(key, libc::SHUT_RDWR);
        }
        if receiving {
            self.cancel_receive(key);
        }
        if polling {
            self.cancel_writable(key);
        }
        self.sockets.leave(key);
    }

    /// Bytes received and sent.
    pub fn traffic_bytes(&self) -> [u64; 2] {
        self.traffic_bytes
    }

    /// How often a socket found no buffer to receive into.
    pub fn starvations(&self) -> u64 {
        self.sockets.starvations
    }

    /// How many sockets wait for a buffer to receive into.
    pub fn starved(&self) -> usize {
        self.sockets.starved.len()
    }

    /// Submits what is pending and lets the kernel complete what it can, without waiting.
    ///
    /// # Errors
    ///
    /// The ring is unusable.
    pub fn poll(&mut self) -> io::Result<()> {
        self.queue.poll()
    }

    /// Submits what is pending and sleeps until there is an event or `timeout` is over. Both with
    /// one system call.
    ///
    /// `nothing_to_do` is asked once the doorbell counts this worker as asleep. It must look at
    /// everything that others leave for the worker before they ring; if it finds something it says
    /// false, and the ring does not sleep. A sleep may also end for no reason.
    ///
    /// # Errors
    ///
    /// The ring is unusable.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        nothing_to_do: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        if self.has_more() {
            return self.queue.poll();
        }
        self.doorbell.fall_asleep();
        let result = if nothing_to_do() { self.queue.wait(timeout) } else { self.queue.poll() };
        self.doorbell.stay_awake();
        result
    }

    /// Whether there is something to do without the kernel: events and files not yet taken, or
    /// sockets that wait for a buffer.
    fn has_more(&mut self) -> bool {
        self.queue.has_completions() || !self.sockets.starved.is_empty() || self.files.has_done()
    }
}
