//! Whose socket is which, as the events of the ring ask.

use shards::slots::Key;

use super::layered::Link;
use crate::nsqd::ring::SocketKey;

/// Who is behind a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A client of the shard.
    Client(Key),
    /// A client of the shard, under layers.
    Layered(Key),
    /// An HTTP connection, by its slot.
    Http(usize),
}

impl Owner {
    /// The client, if it is one.
    pub fn client(self) -> Option<Key> {
        match self {
            Owner::Client(client) | Owner::Layered(client) => Some(client),
            Owner::Http(_) => None,
        }
    }
}

struct Entry {
    socket: SocketKey,
    owner: Owner,
    /// The shard reads nothing from it now.
    paused: bool,
    /// Its layers hold more than was unpacked.
    throttled: bool,
    /// It goes to this worker when it is quiet.
    moving: Option<u16>,
    /// Its layers, when its owner is layered.
    link: Option<Box<Link>>,
}

/// The sockets of one worker, by the ring's slots.
#[derive(Default)]
pub struct Sockets(Vec<Option<Entry>>);

impl Sockets {
    /// Notes whose a socket is.
    pub fn add(&mut self, socket: SocketKey, owner: Owner) {
        if self.0.len() <= socket.index() {
            self.0.resize_with(socket.index() + 1, || None);
        }
        let (paused, throttled, moving, link) = (false, false, None, None);
        self.0[socket.index()] = Some(Entry { socket, owner, paused, throttled, moving, link });
    }

    /// Forgets a socket; its layers, if it had any.
    pub fn remove(&mut self, socket: SocketKey) -> Option<Box<Link>> {
        let slot = self.0.get_mut(socket.index())?;
        slot.take_if(|entry| entry.socket == socket)?.link
    }

    /// Puts layers around a client's socket.
    pub fn wrap(&mut self, socket: SocketKey, client: Key, link: Box<Link>) {
        if let Some(entry) = self.entry_mut(socket) {
            entry.owner = Owner::Layered(client);
            entry.link = Some(link);
        }
    }

    /// Takes them away.
    pub fn unwrap(&mut self, socket: SocketKey, client: Key) {
        if let Some(entry) = self.entry_mut(socket) {
            entry.owner = Owner::Client(client);
            entry.link = None;
        }
    }

    /// The layers around a socket.
    pub fn link(&mut self, socket: SocketKey) -> Option<&mut Link> {
        self.entry_mut(socket)?.link.as_deref_mut()
    }

    /// Notes whether the layers of a socket hold more than was unpacked; what was so before.
    pub fn set_throttled(&mut self, socket: SocketKey, throttled: bool) -> bool {
        self.entry_mut(socket)
            .is_some_and(|entry| std::mem::replace(&mut entry.throttled, throttled))
    }

    /// Who is behind a socket.
    pub fn owner(&self, socket: SocketKey) -> Option<Owner> {
        self.entry(socket).map(|entry| entry.owner)
    }

    /// Notes whether the shard reads from a socket.
    pub fn set_paused(&mut self, socket: SocketKey, paused: bool) {
        if let Some(entry) = self.entry_mut(socket) {
            entry.paused = paused;
        }
    }

    /// Notes that a socket goes to another worker when it is quiet.
    pub fn set_moving(&mut self, socket: SocketKey, to: u16) {
        if let Some(entry) = self.entry_mut(socket) {
            entry.moving = Some(to);
        }
    }

    /// Where a socket goes.
    pub fn moving(&self, socket: SocketKey) -> Option<u16> {
        self.entry(socket).and_then(|entry| entry.moving)
    }

    /// Whether a client's socket is to be read.
    pub fn is_read(&self, socket: SocketKey) -> bool {
        self.entry(socket)
            .is_some_and(|entry| !entry.paused && !entry.throttled && entry.moving.is_none())
    }

    /// All sockets.
    pub fn iter(&self) -> impl Iterator<Item = SocketKey> {
        self.0.iter().flatten().map(|entry| entry.socket)
    }

    fn entry(&self, socket: SocketKey) -> Option<&Entry> {
        self.0.get(socket.index())?.as_ref().filter(|entry| entry.socket == socket)
    }

    fn entry_mut(&mut self, socket: SocketKey) -> Option<&mut Entry> {
        self.0.get_mut(socket.index())?.as_mut().filter(|entry| entry.socket == socket)
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, Sockets};
    use crate::nsqd::ring::SocketKey;
    use shards::slots::Slots;

    #[test]
    fn a_slot_that_is_used_again_leads_to_its_new_owner_only() {
        let mut clients = Slots::default();
        let mut sockets = Sockets::default();
        let (first, second) = (SocketKey::from_u64(3), SocketKey::from_u64(1 << 32 | 3));
        let (old, new) = (clients.insert(()), clients.insert(()));
        sockets.add(first, Owner::Client(old));
        assert_eq!(sockets.owner(first), Some(Owner::Client(old)));
        sockets.add(second, Owner::Client(new));
        sockets.remove(first);
        assert_eq!(sockets.owner(first), None);
        assert_eq!(sockets.owner(second), Some(Owner::Client(new)));
        assert!(sockets.is_read(second));
        sockets.set_moving(second, 1);
        assert!(!sockets.is_read(second));
        assert_eq!(sockets.iter().collect::<Vec<_>>(), [second]);
    }
}
