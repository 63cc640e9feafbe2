//! Layers around a connection: TLS, and within it snappy or deflate.
//!
//! They turn bytes into bytes and touch nothing else: who owns the socket puts in what it received
//! and sends what is on the wire; who owns the session takes plain bytes out, as fast as it likes,
//! and puts in what is to be sent. What is not taken stays here, still packed, so that a few bytes
//! that stand for many cost memory only when they are wanted. Layers move with their connection
//! from thread to thread.
//!
//! What is put in at once leaves as one piece, and so with one write: some clients take a part of
//! a flush for an error.

mod backlog;
mod deflate;
mod snappy;
mod tls;

use std::sync::Arc;

use rustls::ServerConfig;
use shards::upgrade::{Compression, Encryption};
use shards::wire::frame;

use backlog::Backlog;
use deflate::Deflate;
use snappy::{Chunk, Snappy};
use tls::Tls;

/// The most plain bytes that come out at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What went wrong, in words for the log and, during a handshake, for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

impl Fault {
    /// The peer did something wrong, which this says.
    fn peer(reason: String) -> Fault {
        Fault(reason)
    }

    /// What came makes no sense.
    fn corrupt(reason: &str) -> Fault {
        Fault(reason.to_owned())
    }

    /// A library refused what it should take.
    fn internal(error: impl std::fmt::Display) -> Fault {
        Fault(format!("internal error: {error}"))
    }
}

/// What all connections of a thread use, one at a time.
pub struct Tools {
    snappy: Snappy,
    /// Plain bytes on their way out.
    plain: Box<[u8]>,
    /// Compressed bytes on their way into TLS.
    packed: Vec<u8>,
}

impl Default for Tools {
    fn default() -> Tools {
        let plain = vec![0; PIECE_BYTES_MAX].into_boxed_slice();
        Tools { snappy: Snappy::default(), plain, packed: Vec::new() }
    }
}

/// What comes out of the layers next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The handshake is over; this was agreed on. What comes now is the client's.
    Opened(Encryption),
    /// Plain bytes.
    Plain(&'a [u8]),
    /// Nothing, until more is received.
    Starved,
    /// The peer has said, within the layers, that nothing more comes.
    Ended,
}

/// What became of what is there.
enum Unpacked {
    /// So many bytes are in `Tools::plain`.
    Plain(usize),
    /// So many bytes are in snappy's chunk.
    Chunk(usize),
    /// It was not the client's.
    Nothing,
    /// There is nothing, or not enough.
    Dry,
}

enum Codec {
    None,
    /// Whether the stream's identifier has come.
    Snappy(bool),
    Deflate(Box<Deflate>),
}

/// The layers around one connection.
pub struct Layers {
    tls: Option<Tls>,
    codec: Codec,
    /// The handshake is not over.
    opening: bool,
    /// Each layer begins with an `OK` in it.
    greets: bool,
    received: Backlog,
    /// Decrypted, but still compressed.
    decrypted: Backlog,
    wire: Backlog,
}

impl Layers {
    /// What IDENTIFY asked for, at least one layer. Without TLS the `OK` is on the wire at once.
    pub fn new(
        config: Option<Arc<ServerConfig>>,
        compression: Compression,
        tools: &mut Tools,
    ) -> Result<Layers, Fault> {
        let mut layers = Layers {
            tls: config.map(Tls::new).transpose()?,
            codec: match compression {
                Compression::None => Codec::None,
                Compression::Snappy => Codec::Snappy(false),
                Compression::Deflate(level) => Codec::Deflate(Box::new(Deflate::new(level))),
            },
            opening: true,
            greets: true,
            received: Backlog::default(),
            decrypted: Backlog::default(),
            wire: Backlog::default(),
        };
        if layers.tls.is_none() {
            layers.open(tools)?;
        }
        Ok(layers)
    }

    /// TLS alone, from the first byte on and without an `OK`, as under HTTP.
    pub fn bare(config: Arc<ServerConfig>) -> Result<Layers, Fault> {
        Ok(Layers {
            tls: Some(Tls::new(config)?),
            codec: Codec::None,
            opening: true,
            greets: false,
            received: Backlog::default(),
            decrypted: Backlog::default(),
            wire: Backlog::default(),
        })
    }

    /// Whether a handshake is under way.
    pub fn is_opening(&self) -> bool {
        self.opening
    }

    /// Bytes came from the socket.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.end().extend_from_slice(bytes);
    }

    /// What was received and not looked at.
    pub fn received(&self) -> &[u8] {
        self.received.bytes()
    }

    /// Nobody wants what came or still comes.
    pub fn discard(&mut self) {
        self.received.clear();
        self.decrypted.clear();
    }

    /// The next thing that comes out. What is on the wire after it has to be sent.
    ///
    /// # Errors
    /// What came makes no sense, and nothing more can come out. The wire may hold an alert.
    pub fn next<'t>(&mut self, tools: &'t mut Tools) -> Result<Step<'t>, Fault> {
        loop {
            match self.unpack(tools)? {
                Unpacked::Plain(length) => return Ok(Step::Plain(&tools.plain[..length])),
                Unpacked::Chunk(length) => return Ok(Step::Plain(tools.snappy.made(length))),
                Unpacked::Nothing => continue,
                Unpacked::Dry if self.decrypt(tools) => continue,
                Unpacked::Dry => {}
            }
            let Some(tls) = &mut self.tls else { return Ok(Step::Starved) };
            if !tls.receive(&mut self.received, self.wire.end())? {
                return Ok(if tls.has_ended() { Step::Ended } else { Step::Starved });
            }
            if self.opening && !tls.is_handshaking() {
                let encryption = tls.encryption();
                self.open(tools)?;
                return Ok(Step::Opened(encryption));
            }
        }
    }

    /// Unpacks a piece of what is there.
    fn unpack(&mut self, tools: &mut Tools) -> Result<Unpacked, Fault> {
        let packed = if self.tls.is_some() { &mut self.decrypted } else { &mut self.received };
        Ok(match &mut self.codec {
            Codec::None => match self.tls.as_mut().map_or(0, |tls| tls.read(&mut tools.plain)) {
                0 => Unpacked::Dry,
                length => Unpacked::Plain(length),
            },
            Codec::Snappy(greeted) => match tools.snappy.decode(packed.bytes(), greeted)? {
                None => Unpacked::Dry,
                Some(Chunk { used, made }) => {
                    packed.take(used);
                    if made > 0 { Unpacked::Chunk(made) } else { Unpacked::Nothing }
                }
            },
            Codec::Deflate(deflate) if !deflate.has_work(packed.bytes()) => Unpacked::Dry,
            Codec::Deflate(deflate) => {
                let piece = deflate.decode(packed.bytes(), &mut tools.plain)?;
                packed.take(piece.used);
                if piece.made > 0 {
                    Unpacked::Plain(piece.made)
                } else if piece.ended {
                    return Err(Fault::corrupt("flate: the stream ended"));
                } else {
                    Unpacked::Nothing
                }
            }
        })
    }

    /// Moves what TLS has decrypted to where compression takes it; false if there is nothing.
    fn decrypt(&mut self, tools: &mut Tools) -> bool {
        let (Some(tls), Codec::Snappy(_) | Codec::Deflate(_)) = (&mut self.tls, &self.codec) else {
            return false;
        };
        let length = tls.read(&mut tools.plain);
        self.decrypted.end().extend_from_slice(&tools.plain[..length]);
        length > 0
    }

    /// The layers are there: each says `OK` in itself.
    fn open(&mut self, tools: &mut Tools) -> Result<(), Fault> {
        self.opening = false;
        if !self.greets {
            return Ok(());
        }
        if let Some(tls) = &mut self.tls {
            tls.write(frame::OK, self.wire.end())?;
        }
        match self.codec {
            Codec::None => Ok(()),
            Codec::Snappy(_) => {
                tools.packed.clear();
                tools.packed.extend_from_slice(snappy::IDENTIFIER);
                self.pack(frame::OK, tools)
            }
            Codec::Deflate(_) => self.send(frame::OK, tools),
        }
    }

    /// Puts plain bytes through the layers onto the wire: one flush.
    ///
    /// # Errors
    /// When a library refuses them, after which the connection is of no use.
    pub fn send(&mut self, plain: &[u8], tools: &mut Tools) -> Result<(), Fault> {
        tools.packed.clear();
        self.pack(plain, tools)
    }

    /// The same, behind what is in `tools.packed` already.
    fn pack(&mut self, plain: &[u8], tools: &mut Tools) -> Result<(), Fault> {
        let wire = self.wire.end();
        let Tools { snappy, packed, .. } = tools;
        let Some(tls) = &mut self.tls else {
            wire.append(packed);
            match &mut self.codec {
                Codec::None => wire.extend_from_slice(plain),
                Codec::Snappy(_) => snappy.encode(plain, wire)?,
                Codec::Deflate(deflate) => deflate.encode(plain, wire)?,
            }
            return Ok(());
        };
        match &mut self.codec {
            Codec::None => return tls.write(plain, wire),
            Codec::Snappy(_) => snappy.encode(plain, packed)?,
            Codec::Deflate(deflate) => deflate.encode(plain, packed)?,
        }
        tls.write(packed, wire)
    }

    /// Says within the layers that nothing more will be sent.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(self.wire.end());
        }
    }

    /// What is to be sent.
    pub fn wire(&self) -> &[u8] {
        self.wire.bytes()
    }

    /// So much of it was sent.
    pub fn sent(&mut self, count: usize) {
        self.wire.take(count);
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
