//! The sockets and listeners of a ring: what the caller wants of each, and what the kernel is
//! doing for it.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::key::{GENERATIONS, SocketKey};

/// How a socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// From [`Ring::add`](super::Ring::add) on, whatever arrives, until paused.
    Continuous,
    /// Nothing until [`Ring::resume`](super::Ring::resume), then once, and so on.
    Single,
}

/// One operation of one socket or listener in the kernel, and the request to cancel it. There is
/// never more than one of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// The operation will complete (again).
    pub armed: bool,
    /// The request to cancel it will complete.
    pub cancelling: bool,
}

impl Request {
    /// Whether the kernel still has something to say about it.
    pub fn in_flight(self) -> bool {
        self.armed || self.cancelling
    }
}

/// A slot of the table. Its descriptor and its number stay until nothing is in flight.
pub(super) struct Socket {
    /// Owned by the ring, unless the slot is free or the socket was taken.
    pub fd: Option<OwnedFd>,
    /// Rises when the slot is freed.
    generation: u32,
    pub reading: Reading,
    pub receive: Request,
    pub writable: Request,
    /// The caller wants bytes.
    pub wanted: bool,
    /// The caller paused while a receive was in flight and is owed a `Quiet`.
    pub quiet_owed: bool,
    /// Waits in [`Sockets::starved`] for a buffer.
    pub starved: bool,
    /// The peer ended or the connection failed: there is nothing more to read.
    pub finished: bool,
    /// Closed or taken: no more events, the slot is freed with the last completion.
    pub leaving: bool,
}

impl Socket {
    /// The descriptor's number, while the ring owns it.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.fd.as_ref().map(AsRawFd::as_raw_fd)
    }
}

/// All sockets of a ring, in slots that are reused.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Socket>,
    free: Vec<u32>,
    /// Sockets that were added and neither closed nor taken.
    pub open: usize,
    /// Sockets whose receive found no buffer, in the order in which they will get one. An entry
    /// may be stale: its socket closed, paused or resumed since.
    pub starved: VecDeque<SocketKey>,
    /// How often a receive found no buffer.
    pub starvations: u64,
}

impl Sockets {
    /// Gives a socket a slot.
    pub fn insert(&mut self, fd: OwnedFd, reading: Reading) -> SocketKey {
        self.open += 1;
        let fresh = Socket {
            fd: Some(fd),
            generation: 0,
            reading,
            receive: Request::default(),
            writable: Request::default(),
            wanted: false,
            quiet_owed: false,
            starved: false,
            finished: false,
            leaving: false,
        };
        let Some(slot) = self.free.pop() else {
            self.slots.push(fresh);
            return SocketKey { slot: (self.slots.len() - 1) as u32, generation: 0 };
        };
        let place = &mut self.slots[slot as usize];
        assert!(place.fd.is_none() && !place.receive.in_flight() && !place.writable.in_flight());
        let generation = place.generation;
        *place = Socket { generation, ..fresh };
        SocketKey { slot, generation }
    }

    /// The socket that the caller means, if it is still there.
    pub fn get(&mut self, key: SocketKey) -> Option<&mut Socket> {
        let socket = self.slots.get_mut(key.index())?;
        (socket.generation == key.generation && !socket.leaving && socket.fd.is_some())
            .then_some(socket)
    }

    /// The socket that a completion is for, which may be leaving but cannot be gone.
    pub fn of_completion(&mut self, key: SocketKey) -> &mut Socket {
        let socket = &mut self.slots[key.index()];
        assert_eq!(socket.generation, key.generation, "a slot was reused under a request");
        socket
    }

    /// Takes a socket out of the caller's sight; its slot is freed when nothing is in flight.
    pub fn leave(&mut self, key: SocketKey) {
        let socket = self.of_completion(key);
        assert!(!socket.leaving, "a socket left twice");
        socket.leaving = true;
        self.open -= 1;
        self.free_if_done(key);
    }

    /// Frees the slot of a leaving socket, and closes its descriptor, once nothing is in flight.
    pub fn free_if_done(&mut self, key: SocketKey) {
        let socket = self.of_completion(key);
        if !socket.leaving || socket.receive.in_flight() || socket.writable.in_flight() {
            return;
        }
        socket.fd = None;
        socket.generation = (socket.generation + 1) % GENERATIONS;
        self.free.push(key.slot);
    }

    /// The keys of all sockets that are open.
    pub fn keys(&self) -> Vec<SocketKey> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, socket)| socket.fd.is_some() && !socket.leaving)
            .map(|(slot, socket)| SocketKey { slot: slot as u32, generation: socket.generation })
            .collect()
    }

    /// Whether the kernel still works for any of them.
    pub fn in_flight(&self) -> bool {
        self.slots.iter().any(|socket| socket.receive.in_flight() || socket.writable.in_flight())
    }
}

/// A listener. Its index is never used again.
pub(super) struct Listener {
    /// Closed when it is stopped and nothing is in flight.
    pub fd: Option<OwnedFd>,
    pub accept: Request,
    /// The caller still wants connections.
    pub wanted: bool,
}

impl Listener {
    /// Closes a stopped listener once nothing is in flight.
    pub fn close_if_done(&mut self) {
        if !self.wanted && !self.accept.in_flight() {
            self.fd = None;
        }
    }
}
