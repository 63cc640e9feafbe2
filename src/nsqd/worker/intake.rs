//! What arrives: events of the ring, mail of other workers, new connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use shards::client::Peer;
use shards::shard::{Shard, Socket};
use shards::slots::Key;
use socket2::{SockAddr, SockRef};

use super::sockets::Owner;
use super::{Mail, Spoken, Worker};
use crate::net::shield::panic_text;
use crate::nsqd::ring::{Event, Reading, SocketKey};
use crate::nsqd::transport::Layers;

/// How long accepting rests when descriptors have run out.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Letters of data taken in one turn.
const LETTERS_PER_TURN_MAX: usize = 64;

/// What events leave to be done after them: it needs the ring, which they borrow.
#[derive(Debug, Default)]
pub struct Intake {
    /// What is spoken on each listener.
    pub listeners: Vec<Spoken>,
    accepted: Vec<(usize, OwnedFd)>,
    quiet: Vec<SocketKey>,
    /// Sockets that were received from once and are to be again.
    reread: Vec<SocketKey>,
    /// Listeners that rest, and until when in milliseconds.
    resting: Vec<(usize, u64)>,
    /// The log says that accepting pauses; it says so again when it worked in between.
    complained: bool,
    /// More events wait than were taken.
    pub more: bool,
}

impl Intake {
    /// When a listener has rested enough.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.resting.iter().map(|&(_, until_ms)| until_ms).min()
    }
}

impl Worker {
    /// Takes the ring's events.
    pub(super) fn take_events(&mut self) {
        let Worker { ring, shard, sockets, web, intake, clock, reading, layered, .. } = self;
        let single = *reading == Reading::Single;
        let now_ms = clock.mono_ms();
        let Intake { accepted, quiet, reread, resting, complained, .. } = intake;
        let more = ring.events(|event| match event {
            Event::Received { socket, bytes } => match sockets.owner(socket) {
                Some(Owner::Client(client)) => {
                    guarded(shard, client, |shard| shard.received(client, bytes));
                    if single {
                        reread.push(socket);
                    }
                }
                Some(Owner::Layered(_)) => {
                    layered.received(sockets, socket, bytes);
                    if single {
                        reread.push(socket);
                    }
                }
                Some(Owner::Http(slot)) => web.received(slot, bytes),
                None => {}
            },
            Event::Ended { socket } => match sockets.owner(socket) {
                Some(Owner::Client(client)) => guarded(shard, client, |shard| shard.ended(client)),
                Some(Owner::Layered(_)) => layered.ended(sockets, socket),
                Some(Owner::Http(slot)) => web.ended(slot),
                None => {}
            },
            Event::Failed { socket, error } => match sockets.owner(socket) {
                Some(Owner::Client(client) | Owner::Layered(client)) => shard.disconnected(client),
                Some(Owner::Http(slot)) => web.failed(slot, error),
                None => {}
            },
            Event::Writable { socket } => match sockets.owner(socket) {
                Some(Owner::Client(client) | Owner::Layered(client)) => shard.writable(client),
                Some(Owner::Http(slot)) => web.writable(slot),
                None => {}
            },
            Event::Quiet { socket } => quiet.push(socket),
            Event::Accepted { listener, socket } => {
                *complained = false;
                accepted.push((listener, socket));
            }
            Event::AcceptPaused { listener, error } => {
                if !std::mem::replace(complained, true) {
                    tracing::error!("accepting connections pauses - {error}");
                }
                resting.push((listener, now_ms + ACCEPT_REST.as_millis() as u64));
            }
            Event::Doorbell => {}
        });
        self.intake.more = more;
    }

    /// Does what the events left to be done.
    pub(super) fn after_events(&mut self) {
        for (listener, socket) in std::mem::take(&mut self.intake.accepted) {
            if let Err(error) = self.accepted(listener, socket) {
                tracing::debug!("a connection ended before it was taken in - {error}");
            }
        }
        while let Some(socket) = self.intake.quiet.pop() {
            self.quiet(socket);
        }
        let now_ms = self.clock.mono_ms();
        let ring = &mut self.ring;
        self.intake.resting.retain(|&(listener, until_ms)| {
            if until_ms <= now_ms {
                ring.resume_accept(listener);
            }
            until_ms > now_ms
        });
    }

    /// Receives again from sockets that stayed here: the acceptor receives once at a time.
    pub(super) fn reread(&mut self) {
        while let Some(socket) = self.intake.reread.pop() {
            if self.sockets.is_read(socket) {
                self.ring.resume(socket);
            }
        }
    }

    fn accepted(&mut self, listener: usize, socket: OwnedFd) -> io::Result<()> {
        let spoken = self.intake.listeners[listener];
        if spoken != Spoken::Nsq {
            self.next_shard = (self.next_shard + 1) % self.shards;
            self.post(self.next_shard, Mail::Http(socket, spoken == Spoken::Https));
            return Ok(());
        }
        let peer = peer(&socket)?;
        // Answers are small and awaited; a unix socket has no such option and needs none.
        let _ = SockRef::from(&socket).set_tcp_nodelay(true);
        let _ = SockRef::from(&socket).set_keepalive(true);
        let socket = self.ring.add(socket, self.reading);
        let client = self.shard.connect(Socket(socket.to_u64()), peer);
        self.sockets.add(socket, Owner::Client(client));
        if self.reading == Reading::Single {
            self.ring.resume(socket);
        }
        Ok(())
    }

    /// Takes what other workers sent.
    pub(super) fn take_mail(&mut self) {
        let mut arrivals = Vec::new();
        let Worker { mailbox, shard, .. } = self;
        mailbox.drain(LETTERS_PER_TURN_MAX, |from, mail| match mail {
            Mail::Letter(letter) => shard.mail(from as u16, letter),
            mail => arrivals.push(mail),
        });
        for mail in arrivals {
            let taken = match mail {
                Mail::Arrival(socket, departure, link) => {
                    let key = self.ring.add(socket, self.reading);
                    let client = self.shard.adopt(Socket(key.to_u64()), departure);
                    self.sockets.add(key, Owner::Client(client));
                    if let Some(link) = link {
                        self.adopt_link(key, client, link);
                    }
                    guarded(&mut self.shard, client, |shard| shard.start(client));
                    self.pump_soon(key);
                    Ok(())
                }
                Mail::Http(socket, secure) => self.http_accepted(socket, secure),
                Mail::Letter(_) => Ok(()),
            };
            if let Err(error) = taken {
                tracing::error!("a connection that was handed over is lost - {error}");
            }
        }
    }

    fn http_accepted(&mut self, socket: OwnedFd, secure: bool) -> io::Result<()> {
        let remote = peer(&socket)?.address;
        let _ = SockRef::from(&socket).set_tcp_nodelay(true);
        let layers = match self.layered.config() {
            Some(config) if secure => Some(Layers::bare(config).map_err(io::Error::other)?),
            _ => None,
        };
        if layers.is_some() {
            self.layered.handshake_begins();
        }
        let key = self.ring.add(socket, Reading::Single);
        let slot = self.web.open(key, remote, layers, self.clock.instant());
        self.sockets.add(key, Owner::Http(slot));
        Ok(())
    }
}

/// Runs what handles one client. If it panics, the client ends and the others go on.
pub fn guarded(shard: &mut Shard, client: Key, handle: impl FnOnce(&mut Shard)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handle(shard))) {
        tracing::error!("handling a client panicked, it is closed - {}", panic_text(&*panic));
        shard.panicked(client);
    }
}

fn peer(socket: &OwnedFd) -> io::Result<Peer> {
    let address: SockAddr = SockRef::from(socket).peer_addr()?;
    Ok(match address.as_socket() {
        Some(address) => {
            // A listener for both families names an IPv4 peer as if it were an IPv6 one.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            Peer { ip: address.ip().to_string(), address: address.to_string() }
        }
        None => Peer { ip: String::new(), address: "@".to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::{Peer, Shard, Socket, guarded};
    use shards::limits::Options;
    use shards::placement::Placement;
    use shards::shard::{Effect, Now, Parts};

    #[test]
    fn a_panic_ends_one_client_only() {
        let parts = Parts {
            options: Options::default(),
            placement: Placement::new(0, 1, &[]),
            workers: 1,
            now: Now::default(),
            seed: 1,
            disk: false,
        };
        let mut shard = Shard::new(parts, Box::new(crate::nsqd::worker::memory::chunks()));
        let clients = [1, 2].map(|socket| shard.connect(Socket(socket), Peer::default()));
        guarded(&mut shard, clients[0], |_| panic!("a test's panic"));
        assert_eq!(shard.take_effects(), [Effect::Close(Socket(1))]);
        assert_eq!(shard.client_count(), 1);
        // The socket may still have sent something; it is nobody's.
        guarded(&mut shard, clients[0], |shard| shard.received(clients[0], b"  V2NOP\n"));
        let publish = b"  V2PUB t\n\0\0\0\x01x";
        guarded(&mut shard, clients[1], |shard| shard.received(clients[1], publish));
        shard.finish_turn();
        assert_eq!(shard.take_dirty(), Some((clients[1], Socket(2))));
        assert!(shard.output(clients[1]).ends_with(b"OK"));
        assert_eq!(shard.take_effects(), []);
    }
}
