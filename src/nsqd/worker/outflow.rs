//! What leaves: effects on connections, bytes, connections and letters for other workers.

use shards::shard::{Effect, Socket};
use shards::slots::Key;

use super::intake::guarded;
use super::sockets::Owner;
use super::{Mail, Worker};
use crate::nsqd::mailbox::Lane;
use crate::nsqd::ring::SocketKey;

impl Worker {
    /// Carries out the shard's effects and sends what it has for clients, until neither is left.
    pub(super) fn settle_clients(&mut self) {
        loop {
            let effects = self.shard.take_effects();
            let mut idle = effects.is_empty();
            for &effect in &effects {
                self.carry_out(effect);
            }
            self.shard.reuse_effects(effects);
            while let Some((client, socket)) = self.shard.take_dirty() {
                idle = false;
                self.send(client, key(socket));
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Move(socket, to) => {
                let socket = key(socket);
                self.sockets.set_moving(socket, to);
                if self.ring.pause(socket) {
                    self.quiet(socket);
                }
            }
            Effect::Close(socket) => {
                self.ring.close(key(socket));
                self.sockets.remove(key(socket));
            }
            Effect::Finish(socket) => self.finish(key(socket)),
            Effect::Upgrade(socket, upgrade) => self.upgrade(key(socket), upgrade),
            Effect::UpgradeOverdue(socket) => self.upgrade_overdue(key(socket)),
            Effect::Crowded(socket) => self.crowded(key(socket)),
            Effect::Pause(socket) => {
                self.sockets.set_paused(key(socket), true);
                self.ring.pause(key(socket));
            }
            Effect::Resume(socket) => {
                self.sockets.set_paused(key(socket), false);
                if self.sockets.is_read(key(socket)) {
                    self.ring.resume(key(socket));
                }
                self.pump_soon(key(socket));
            }
        }
    }

    /// One send for everything that a client is to get.
    fn send(&mut self, client: Key, socket: SocketKey) {
        if let Some(Owner::Layered(_)) = self.sockets.owner(socket) {
            return self.send_layered(client, socket);
        }
        let output = self.shard.output(client);
        if output.is_empty() {
            return;
        }
        let (length, sent) = (output.len(), self.ring.send(socket, output));
        match sent {
            Ok(sent) => {
                if sent < length {
                    self.ring.want_writable(socket);
                }
                // What waited for room is carried out now.
                guarded(&mut self.shard, client, |shard| shard.sent(client, sent));
            }
            Err(error) => {
                tracing::debug!("sending to a client failed - {error}");
                self.shard.disconnected(client);
            }
        }
    }

    /// A socket is not read any more: if it is to move, it goes.
    pub(super) fn quiet(&mut self, socket: SocketKey) {
        let Some(to) = self.sockets.moving(socket) else { return };
        let Some(client) = self.sockets.owner(socket).and_then(Owner::client) else { return };
        let Some(fd) = self.ring.take(socket) else { return };
        let link = self.sockets.remove(socket);
        if let Some(departure) = self.shard.depart(client) {
            self.post(to, Mail::Arrival(fd, departure, link));
        }
    }

    /// Posts the shard's letters, and what found no room before.
    pub(super) fn post_letters(&mut self) {
        while let Some((to, letter)) = self.shard.take_letter() {
            self.post(to, Mail::Letter(letter));
        }
        for to in 0..self.unposted.len() {
            for queue in 0..self.unposted[to].len() {
                self.post_waiting(to, queue);
            }
        }
        self.mailbox.ring_posted();
    }

    fn post_waiting(&mut self, to: usize, queue: usize) {
        while let Some(mail) = self.unposted[to][queue].pop_front() {
            if let Err(mail) = self.mailbox.try_post(to, mail.lane(), mail) {
                self.unposted[to][queue].push_front(mail);
                return;
            }
        }
    }

    /// Posts something at the end of the turn, or as soon as there is room; nothing overtakes
    /// what waits in the same lane.
    pub(super) fn post(&mut self, to: u16, mail: Mail) {
        let queue = usize::from(mail.lane() == Lane::Answer);
        self.unposted[usize::from(to)][queue].push_back(mail);
    }
}

/// A socket as the ring names it.
fn key(socket: Socket) -> SocketKey {
    SocketKey::from_u64(socket.0)
}
