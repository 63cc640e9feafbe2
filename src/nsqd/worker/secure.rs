//! HTTPS: the bytes of an HTTP connection on their way through TLS.

use std::time::{Duration, Instant};

use shards::upgrade::Share;

use super::layered::Layered;
use crate::nsqd::http::Origin;
use crate::nsqd::http::socket::HttpPeer;
use crate::nsqd::ring::SocketKey;
use crate::nsqd::transport::{Fault, Layers, Step};

/// How long a handshake may take, the wait for its turn included.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What somebody is told who speaks HTTP without TLS here; the words are the original's.
const NO_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// What requests begin with, as far as the original looks.
const REQUESTS: [&[u8; 5]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];

/// TLS around one HTTP connection.
pub struct Secure {
    layers: Layers,
    /// Who is at the other end.
    origin: Origin,
    /// When the handshake has to be over.
    pub until: Instant,
    /// Held while it is under way.
    permit: Option<Share>,
    /// It stands in line.
    waits: bool,
    /// Sent outside of TLS, when that never came to be.
    farewell: &'static [u8],
    /// Nothing more comes out.
    over: bool,
    /// It has said that nothing more comes.
    closed: bool,
    /// The task was told something since somebody asked.
    told: bool,
}

/// What is to be done after unpacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Receive more, when it is wanted.
    Receive,
    /// Look again in the next turn.
    Again,
    /// Wait in line.
    Wait,
}

impl Secure {
    /// Waits for the first bytes.
    pub fn new(layers: Layers, origin: Origin, now: Instant) -> Secure {
        Secure {
            layers,
            origin,
            until: now + HANDSHAKE_TIMEOUT,
            permit: None,
            waits: false,
            farewell: b"",
            over: false,
            closed: false,
            told: false,
        }
    }

    /// Bytes came.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.over {
            self.layers.receive(bytes);
        }
    }

    /// Whether the task was told something, and can run.
    pub fn has_told(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }

    /// Whether the handshake is not over.
    pub fn is_opening(&self) -> bool {
        self.layers.is_opening() && !self.over
    }

    /// It stood in line, and may go on.
    pub fn called(&mut self) {
        self.waits = false;
    }

    /// Feeds the task as long as it wants more. `ended` says that nothing more is received.
    pub fn unpack(
        &mut self,
        peer: &mut HttpPeer,
        ended: bool,
        socket: SocketKey,
        layered: &mut Layered,
    ) -> Next {
        if self.waits {
            return Next::Wait;
        }
        while !self.over && (self.is_opening() || peer.wants_input()) {
            if self.is_opening() && !self.layers.received().is_empty() {
                match layered.may_shake(socket, &mut self.permit) {
                    Ok(true) => {}
                    Ok(false) => return Next::Again,
                    Err(()) => {
                        self.waits = true;
                        return Next::Wait;
                    }
                }
            }
            match self.layers.next(&mut layered.tools) {
                Ok(Step::Opened(encryption)) => {
                    self.permit = None;
                    if let Some(name) = &self.origin.secure {
                        // It is the only handshake.
                        let _ = name.set(encryption.common_name);
                    }
                    layered.handshake_succeeded();
                }
                Ok(Step::Plain(bytes)) => {
                    peer.feed(bytes);
                    self.told = true;
                }
                Ok(Step::Starved) if ended => self.end(peer),
                Ok(Step::Starved) => return Next::Receive,
                Ok(Step::Ended) => self.end(peer),
                Err(fault) => self.failed(peer, &fault),
            }
        }
        Next::Receive
    }

    fn end(&mut self, peer: &mut HttpPeer) {
        match self.is_opening() {
            true => self.give_up(peer, "EOF"),
            false => peer.end(),
        }
        (self.over, self.told) = (true, true);
    }

    fn failed(&mut self, peer: &mut HttpPeer, fault: &Fault) {
        let first = self.layers.received().first_chunk();
        let plain = first.is_some_and(|first| REQUESTS.contains(&first));
        match (self.is_opening(), plain) {
            (true, true) => {
                self.farewell = NO_TLS;
                self.give_up(peer, "client sent an HTTP request to an HTTPS server");
            }
            (true, false) => self.give_up(peer, &fault.to_string()),
            (false, _) => {
                tracing::debug!("HTTPS connection of {} ended - {fault}", self.origin.remote);
                peer.fail(std::io::ErrorKind::InvalidData.into());
            }
        }
        (self.over, self.told) = (true, true);
    }

    /// The handshake comes to nothing.
    pub fn give_up(&mut self, peer: &mut HttpPeer, reason: &str) {
        tracing::warn!("http: TLS handshake error from {}: {reason}", self.origin.remote);
        peer.fail(std::io::ErrorKind::ConnectionAborted.into());
        self.permit = None;
        (self.over, self.told) = (true, true);
    }

    /// What is to be sent next: packed, if the task has said something.
    pub fn output(&mut self, peer: &mut HttpPeer, layered: &mut Layered) -> &[u8] {
        if self.layers.wire().is_empty() && !self.farewell.is_empty() {
            return self.farewell;
        }
        if self.layers.wire().is_empty() && !self.layers.is_opening() {
            self.pack(peer, layered);
        }
        self.layers.wire()
    }

    /// What the task has said, or else that it says no more.
    fn pack(&mut self, peer: &mut HttpPeer, layered: &mut Layered) {
        if peer.has_output() {
            let output = peer.output();
            let length = output.len();
            match self.layers.send(output, &mut layered.tools) {
                Ok(()) => peer.sent(length),
                Err(fault) => {
                    tracing::error!("HTTPS connection of {} ended - {fault}", self.origin.remote);
                    peer.fail(std::io::ErrorKind::InvalidData.into());
                    self.over = true;
                }
            }
        } else if peer.is_closed() && !std::mem::replace(&mut self.closed, true) {
            self.layers.close();
        }
    }

    /// So much of it was sent.
    pub fn sent(&mut self, count: usize) {
        if self.layers.wire().is_empty() {
            self.farewell = &self.farewell[count..];
        } else {
            self.layers.sent(count);
        }
    }

    /// The socket takes nothing more.
    pub fn broken(&mut self) {
        self.layers.sent(self.layers.wire().len());
        (self.farewell, self.over, self.closed) = (b"", true, true);
    }

    /// Whether nothing is left to be sent.
    pub fn is_silent(&self) -> bool {
        self.layers.wire().is_empty()
            && self.farewell.is_empty()
            && (self.closed || self.layers.is_opening())
    }
}
