//! Clients under layers: what their sockets bring is unpacked before the shard sees it, and what
//! the shard says is packed before it is sent.
//!
//! A layered connection keeps what it received until its turn comes: handshakes are bounded in
//! number and in each turn, and so is what unpacking may make of a few bytes. A client that may
//! not go on is not unpacked at all. A connection without layers passes by all of this.

use std::collections::VecDeque;
use std::sync::Arc;

use rustls::ServerConfig;
use shards::shard::Appetite;
use shards::slots::Key;
use shards::upgrade::{Compression, Encryption, Room, Share, Upgrade};

use super::Worker;
use super::intake::guarded;
use super::sockets::{Owner, Sockets};
use crate::nsqd::ring::SocketKey;
use crate::nsqd::transport::{Fault, Layers, Step, Tools};
use crate::tls::ServerTls;

/// Handshakes that go a step further in one turn: a step may cost a millisecond.
const SHAKES_PER_TURN_MAX: usize = 2;
/// Plain bytes that are unpacked for one connection in one turn.
const UNPACKED_PER_TURN_MAX: usize = 256 * 1024;
/// Plain bytes that are packed, and sent, at once.
const FLUSH_BYTES_MAX: usize = 256 * 1024;

/// The layers of one connection, and how far it has come. It moves with the connection.
pub struct Link {
    layers: Layers,
    /// Held while a handshake is under way.
    permit: Option<Share>,
    flush: Flush,
    /// The socket brings nothing more.
    ended: bool,
    /// In the list of those with something to unpack.
    due: bool,
    /// Nothing that comes is looked at any more.
    deaf: bool,
}

/// How much of what the shard said is in what the socket has taken: nobody can tell for a single
/// byte, so it is said in proportion.
#[derive(Debug, Default)]
struct Flush {
    plain: usize,
    reported: usize,
    sent: usize,
}

impl Flush {
    /// So many bytes more were sent, and so many are left: the plain bytes that this amounts to.
    fn sent(&mut self, count: usize, left: usize) -> usize {
        self.sent += count;
        let whole = (self.sent + left).max(1);
        // Not everything before the last byte is sent.
        let reached = if left == 0 { self.plain } else { self.plain * self.sent / whole };
        let news = reached - self.reported.min(reached);
        self.reported += news;
        if left == 0 {
            *self = Flush::default();
        }
        news
    }
}

impl Link {
    fn new(layers: Layers) -> Link {
        let flush = Flush::default();
        Link { layers, permit: None, flush, ended: false, due: false, deaf: false }
    }
}

/// What the layered connections of a worker share.
pub struct Layered {
    /// What TLS is made of, if there is any.
    tls: Option<Arc<ServerTls>>,
    /// Handshakes that may be under way.
    permits: Room,
    pub(super) tools: Tools,
    /// Connections with something to unpack.
    due: Vec<SocketKey>,
    /// Connections that wait for another's handshake to end.
    waiting: VecDeque<SocketKey>,
    /// Steps of handshakes that are left in this turn.
    shakes_left: usize,
    handshakes_max: usize,
    /// Handshakes that were begun, and those that succeeded.
    handshakes_total: [u64; 2],
    compression_refused: u64,
    /// The log says that compression is refused; it says so again when it was given in between.
    told_crowded: bool,
}

impl Layered {
    /// No connections yet.
    pub fn new(tls: Option<Arc<ServerTls>>, handshakes_max: usize) -> Layered {
        Layered {
            tls,
            permits: Room::new(handshakes_max),
            tools: Tools::default(),
            due: Vec::new(),
            waiting: VecDeque::new(),
            shakes_left: 0,
            handshakes_max,
            handshakes_total: [0, 0],
            compression_refused: 0,
            told_crowded: false,
        }
    }

    /// Handshakes under way.
    pub fn handshakes(&self) -> usize {
        self.handshakes_max.saturating_sub(self.permits.left_bytes())
    }

    /// Handshakes that stand in line.
    pub fn handshakes_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Handshakes that were begun, and those that succeeded.
    pub fn handshakes_total(&self) -> [u64; 2] {
        self.handshakes_total
    }

    /// Connections that were not compressed for want of memory.
    pub fn compression_refused(&self) -> u64 {
        self.compression_refused
    }

    /// A handshake begins.
    pub fn handshake_begins(&mut self) {
        self.handshakes_total[0] += 1;
    }

    /// A handshake has succeeded.
    pub fn handshake_succeeded(&mut self) {
        self.handshakes_total[1] += 1;
    }

    /// What the next handshake is made of.
    pub fn config(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|tls| tls.config())
    }

    /// Whether the next turn is due at once.
    pub fn has_work(&self) -> bool {
        !self.due.is_empty() || (!self.waiting.is_empty() && self.permits.left_bytes() > 0)
    }

    /// Bytes came.
    pub fn received(&mut self, sockets: &mut Sockets, socket: SocketKey, bytes: &[u8]) {
        if let Some(link) = sockets.link(socket)
            && !link.deaf
        {
            link.layers.receive(bytes);
            self.mark(socket, link);
        }
    }

    /// The peer sends no more.
    pub fn ended(&mut self, sockets: &mut Sockets, socket: SocketKey) {
        if let Some(link) = sockets.link(socket) {
            link.ended = true;
            self.mark(socket, link);
        }
    }

    fn mark(&mut self, socket: SocketKey, link: &mut Link) {
        if !std::mem::replace(&mut link.due, true) {
            self.due.push(socket);
        }
    }

    /// Whether a handshake may go a step further now. `permit` is taken on the way, unless there
    /// is none left, which `Err` says: then the connection waits in line.
    pub fn may_shake(&mut self, socket: SocketKey, permit: &mut Option<Share>) -> Result<bool, ()> {
        if permit.is_none() {
            *permit = self.permits.take(1);
        }
        if permit.is_none() {
            self.waiting.push_back(socket);
            return Err(());
        }
        let may = self.shakes_left > 0;
        self.shakes_left -= usize::from(may);
        Ok(may)
    }
}

/// Why unpacking stopped.
enum Stop {
    /// The handshake is over.
    Opened(Encryption),
    /// The client may not go on.
    Waits,
    /// There is more, for another turn.
    Enough,
    /// There is nothing more.
    Starved,
    /// The peer has said that it sends no more.
    Ended,
    /// What came makes no sense.
    Failed(Fault),
}

impl Worker {
    /// Puts layers around a client's socket.
    pub(super) fn upgrade(&mut self, socket: SocketKey, upgrade: Upgrade) {
        let Some(Owner::Client(client)) = self.sockets.owner(socket) else { return };
        let config = self.layered.config().filter(|_| upgrade.tls);
        assert_eq!(config.is_some(), upgrade.tls, "TLS is offered where there is a certificate");
        match Layers::new(config, upgrade.compression, &mut self.layered.tools) {
            Ok(layers) => self.sockets.wrap(socket, client, Box::new(Link::new(layers))),
            Err(fault) => return self.shard.upgrade_failed(client, &fault.to_string()),
        }
        self.layered.handshakes_total[0] += u64::from(upgrade.tls);
        self.layered.told_crowded &= upgrade.compression == Compression::None;
        if !upgrade.tls {
            self.send_layered(client, socket);
            self.shard.upgraded(client, None);
        } else if self.shard.has_ended(client) {
            self.layered.ended(&mut self.sockets, socket);
        }
    }

    /// A handshake took too long.
    pub(super) fn upgrade_overdue(&mut self, socket: SocketKey) {
        let Some(Owner::Layered(client)) = self.sockets.owner(socket) else { return };
        let local = self.ring.local_address(socket);
        let local = local.map_or_else(String::new, |address| address.to_string());
        let reason = format!("read tcp {local}->{}: i/o timeout", self.shard.address(client));
        self.fail_upgrade(socket, client, &reason);
    }

    /// A client works without the compression that it asked for.
    pub(super) fn crowded(&mut self, socket: SocketKey) {
        self.layered.compression_refused += 1;
        let client = self.sockets.owner(socket).and_then(Owner::client);
        if let Some(client) = client
            && !std::mem::replace(&mut self.layered.told_crowded, true)
        {
            let address = self.shard.address(client);
            tracing::warn!(
                "[{address}] is not compressed, nor are others for now: --compression-memory is \
                 used up"
            );
        }
    }

    /// Unpacks what came, as far as this turn goes.
    pub(super) fn pump_layers(&mut self) {
        self.layered.shakes_left = SHAKES_PER_TURN_MAX;
        let mut due = std::mem::take(&mut self.layered.due);
        for socket in due.drain(..) {
            if let Some(link) = self.sockets.link(socket) {
                link.due = false;
                self.pump(socket);
            }
        }
        if self.layered.due.is_empty() {
            self.layered.due = due;
        }
        for _ in 0..self.layered.permits.left_bytes().min(self.layered.waiting.len()) {
            let Some(socket) = self.layered.waiting.pop_front() else { return };
            match self.sockets.owner(socket) {
                Some(Owner::Layered(_)) => self.read_again(socket),
                Some(Owner::Http(slot)) => self.web.called(slot),
                _ => {}
            }
        }
    }

    /// Goes on with a connection that may have something to unpack.
    pub(super) fn pump_soon(&mut self, socket: SocketKey) {
        if let Some(link) = self.sockets.link(socket) {
            self.layered.mark(socket, link);
        }
    }

    fn pump(&mut self, socket: SocketKey) {
        while let Some(Owner::Layered(client)) = self.sockets.owner(socket) {
            if !self.may_pump(socket) {
                return;
            }
            let stop = self.unpack(socket, client);
            self.flush_wire(client, socket);
            match stop {
                Stop::Opened(encryption) => {
                    if let Some(link) = self.sockets.link(socket) {
                        link.permit = None;
                    }
                    self.layered.handshake_succeeded();
                    self.shard.upgraded(client, Some(encryption));
                }
                Stop::Waits => return,
                Stop::Enough => {
                    self.sockets.set_throttled(socket, true);
                    self.ring.pause(socket);
                    return self.pump_soon(socket);
                }
                Stop::Starved => {
                    self.read_again(socket);
                    return self.settle_end(socket, client);
                }
                Stop::Ended => {
                    self.layered.ended(&mut self.sockets, socket);
                    return self.settle_end(socket, client);
                }
                Stop::Failed(fault) => return self.failed(socket, client, &fault),
            }
        }
    }

    /// Whether a connection may go on as far as handshakes are bounded.
    fn may_pump(&mut self, socket: SocketKey) -> bool {
        let Worker { sockets, layered, .. } = self;
        let Some(link) = sockets.link(socket) else { return false };
        if !link.layers.is_opening() || link.layers.received().is_empty() {
            return true;
        }
        match layered.may_shake(socket, &mut link.permit) {
            Ok(true) => true,
            Ok(false) => {
                layered.mark(socket, link);
                false
            }
            Err(()) => {
                sockets.set_throttled(socket, true);
                self.ring.pause(socket);
                false
            }
        }
    }

    /// Reads from a connection that was held back, unless something else holds it back as well.
    fn read_again(&mut self, socket: SocketKey) {
        if self.sockets.set_throttled(socket, false) {
            if self.sockets.is_read(socket) {
                self.ring.resume(socket);
            }
            self.pump_soon(socket);
        }
    }

    /// Gives the client what comes out of its layers.
    fn unpack(&mut self, socket: SocketKey, client: Key) -> Stop {
        let Worker { sockets, shard, layered, .. } = self;
        let Some(link) = sockets.link(socket) else { return Stop::Waits };
        let mut left = UNPACKED_PER_TURN_MAX;
        loop {
            match shard.appetite(client) {
                _ if link.layers.is_opening() => {}
                Appetite::Now => {}
                Appetite::Later => return Stop::Waits,
                Appetite::Never => {
                    link.deaf = true;
                    link.layers.discard();
                    return Stop::Starved;
                }
            }
            if left == 0 {
                return Stop::Enough;
            }
            match link.layers.next(&mut layered.tools) {
                Ok(Step::Plain(bytes)) => {
                    left = left.saturating_sub(bytes.len());
                    guarded(shard, client, |shard| shard.received(client, bytes));
                }
                Ok(Step::Opened(encryption)) => return Stop::Opened(encryption),
                Ok(Step::Starved) => return Stop::Starved,
                Ok(Step::Ended) => return Stop::Ended,
                Err(fault) => return Stop::Failed(fault),
            }
        }
    }

    /// Everything is unpacked: if that was all, the client is told.
    fn settle_end(&mut self, socket: SocketKey, client: Key) {
        let Some(link) = self.sockets.link(socket) else { return };
        if !link.ended {
            return;
        }
        if link.layers.is_opening() {
            let whole = link.layers.received().is_empty();
            return self.fail_upgrade(socket, client, if whole { "EOF" } else { "unexpected EOF" });
        }
        link.deaf = true;
        guarded(&mut self.shard, client, |shard| shard.ended(client));
    }

    fn failed(&mut self, socket: SocketKey, client: Key, fault: &Fault) {
        let Some(link) = self.sockets.link(socket) else { return };
        if link.layers.is_opening() {
            return self.fail_upgrade(socket, client, &fault.to_string());
        }
        // As in the original: the stream ends here, and a command that is cut off gets its error.
        link.deaf = true;
        link.layers.discard();
        tracing::error!(
            "client({}) - failed to read command - {fault}",
            self.shard.address(client)
        );
        guarded(&mut self.shard, client, |shard| shard.ended(client));
    }

    /// Takes the layers away again: what is said to the client now is plain.
    fn fail_upgrade(&mut self, socket: SocketKey, client: Key, reason: &str) {
        self.flush_wire(client, socket);
        self.sockets.unwrap(socket, client);
        self.read_again(socket);
        let address = self.shard.address(client);
        tracing::error!("[{address}] - E_IDENTIFY_FAILED IDENTIFY failed {reason}");
        self.shard.upgrade_failed(client, reason);
    }

    /// Packs and sends what a client is to get.
    pub(super) fn send_layered(&mut self, client: Key, socket: SocketKey) {
        while self.flush_wire(client, socket) {
            let Worker { shard, sockets, layered, .. } = self;
            let Some(link) = sockets.link(socket) else { return };
            let output = shard.output(client);
            let piece = &output[..output.len().min(FLUSH_BYTES_MAX)];
            if piece.is_empty() || link.layers.is_opening() {
                return;
            }
            if let Err(fault) = link.layers.send(piece, &mut layered.tools) {
                tracing::error!("[{}] - failed to send - {fault}", shard.address(client));
                return shard.disconnected(client);
            }
            link.flush.plain = piece.len();
        }
    }

    /// Sends what is on the wire. True when all of it is gone.
    fn flush_wire(&mut self, client: Key, socket: SocketKey) -> bool {
        let Worker { ring, shard, sockets, .. } = self;
        let Some(link) = sockets.link(socket) else { return false };
        if link.layers.wire().is_empty() {
            return true;
        }
        match ring.send(socket, link.layers.wire()) {
            Ok(sent) => {
                link.layers.sent(sent);
                let left = link.layers.wire().len();
                if left > 0 {
                    ring.want_writable(socket);
                }
                let from_shard = link.flush.plain > 0;
                let plain = link.flush.sent(sent, left);
                if from_shard {
                    guarded(shard, client, |shard| shard.sent(client, plain));
                }
                left == 0
            }
            Err(error) => {
                tracing::debug!("sending to a client failed - {error}");
                shard.disconnected(client);
                false
            }
        }
    }

    /// Tells a client that nothing more comes.
    pub(super) fn finish(&mut self, socket: SocketKey) {
        if let Some(Owner::Layered(client)) = self.sockets.owner(socket)
            && let Some(link) = self.sockets.link(socket)
        {
            link.layers.close();
            self.flush_wire(client, socket);
        }
        self.ring.end_sending(socket);
    }

    /// Takes in the layers of a connection that has arrived.
    pub(super) fn adopt_link(&mut self, socket: SocketKey, client: Key, mut link: Box<Link>) {
        link.due = false;
        self.sockets.wrap(socket, client, link);
        self.flush_wire(client, socket);
    }
}

#[cfg(test)]
mod tests {
    use super::Flush;

    #[test]
    fn what_is_sent_is_reported_once_and_all_of_it_at_the_end() {
        for (plain, wire) in [(1000, 100), (100, 1000), (10, 10), (1, 500), (0, 300)] {
            for step in [1, 7, wire] {
                let mut flush = Flush { plain, ..Flush::default() };
                let (mut left, mut reported) = (wire, 0);
                while left > 0 {
                    let sent = step.min(left);
                    left -= sent;
                    reported += flush.sent(sent, left);
                    assert!(left == 0 || reported < plain.max(1), "{plain} {wire} {step}");
                }
                assert_eq!(reported, plain);
                assert_eq!((flush.plain, flush.sent, flush.reported), (0, 0, 0));
            }
        }
    }
}
