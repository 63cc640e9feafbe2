//! Whose socket is which: the ring names sockets, the shard names clients.

use shards::slots::Key;

use crate::nsqd::ring::SocketKey;

/// Who is behind a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A client of the shard.
    Client(Key),
    /// An HTTP connection, by its slot.
    Http(usize),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    socket: SocketKey,
    owner: Owner,
    /// The shard reads nothing from it now.
    paused: bool,
    /// It goes to this worker when it is quiet.
    moving: Option<u16>,
}

/// The sockets of one worker, found by the ring's keys and by the shard's.
#[derive(Debug, Default)]
pub struct Sockets {
    /// By the ring's slot.
    entries: Vec<Option<Entry>>,
    /// The ring's slots, by the shard's.
    of_clients: Vec<Option<SocketKey>>,
}

impl Sockets {
    /// Notes whose a socket is.
    pub fn add(&mut self, socket: SocketKey, owner: Owner) {
        let entry = Entry { socket, owner, paused: false, moving: None };
        *place(&mut self.entries, socket.index()) = Some(entry);
        if let Owner::Client(client) = owner {
            *place(&mut self.of_clients, client.index()) = Some(socket);
        }
    }

    /// Forgets a socket. Whoever took its client's slot meanwhile is left alone.
    pub fn remove(&mut self, socket: SocketKey) {
        let Some(slot) = self.entries.get_mut(socket.index()) else { return };
        let Some(entry) = slot.take_if(|entry| entry.socket == socket) else { return };
        if let Owner::Client(client) = entry.owner
            && let Some(of_client) = self.of_clients.get_mut(client.index())
        {
            of_client.take_if(|of_client| *of_client == socket);
        }
    }

    /// Who is behind a socket.
    pub fn owner(&self, socket: SocketKey) -> Option<Owner> {
        self.entry(socket).map(|entry| entry.owner)
    }

    /// The socket of a client. A client that is gone has none, even when another has its slot.
    pub fn of(&self, client: Key) -> Option<SocketKey> {
        let socket = (*self.of_clients.get(client.index())?)?;
        (self.owner(socket)? == Owner::Client(client)).then_some(socket)
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
        self.entry(socket).is_some_and(|entry| !entry.paused && entry.moving.is_none())
    }

    /// All sockets.
    pub fn iter(&self) -> impl Iterator<Item = SocketKey> {
        self.entries.iter().flatten().map(|entry| entry.socket)
    }

    fn entry(&self, socket: SocketKey) -> Option<&Entry> {
        self.entries.get(socket.index())?.as_ref().filter(|entry| entry.socket == socket)
    }

    fn entry_mut(&mut self, socket: SocketKey) -> Option<&mut Entry> {
        self.entries.get_mut(socket.index())?.as_mut().filter(|entry| entry.socket == socket)
    }
}

fn place<T>(list: &mut Vec<Option<T>>, index: usize) -> &mut Option<T> {
    if list.len() <= index {
        list.resize_with(index + 1, || None);
    }
    &mut list[index]
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
        let (old, first) = (clients.insert(()), SocketKey::from_u64(3));
        sockets.add(first, Owner::Client(old));
        assert_eq!(sockets.of(old), Some(first));
        clients.remove(old);
        let new = clients.insert(());
        let second = SocketKey::from_u64(4);
        assert_eq!(new.index(), old.index());
        sockets.add(second, Owner::Client(new));
        sockets.remove(first);
        assert_eq!(sockets.of(old), None);
        assert_eq!(sockets.of(new), Some(second));
        assert_eq!(sockets.owner(first), None);
        assert!(sockets.is_read(second));
        sockets.set_moving(second, 1);
        assert!(!sockets.is_read(second));
    }
}
