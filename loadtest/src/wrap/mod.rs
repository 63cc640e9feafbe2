//! What lies between the protocol's bytes and the socket: nothing, or TLS, compression or both.
//!
//! Compression is inside TLS, as the protocol negotiates them. A connection without either does
//! not come through here at all.

mod compress;
mod tls;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

pub use compress::Compression;
pub use tls::{Trust, client_config};

use compress::{Packer, Unpacker};

use crate::codec::FRAME_BYTES_MAX;
use crate::{Error, Result};

/// Bytes that one read takes from a socket.
const RAW_BYTES_MAX: usize = 64 * 1024;

/// Plain bytes that are packed at a time; more are taken when these have left.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// What the connections of a load are wrapped in.
#[derive(Clone, Debug, Default)]
pub struct Wrap {
    /// TLS, and who the broker should be.
    pub tls: Option<Tls>,
    /// Compression.
    pub compression: Compression,
}

/// TLS towards one broker.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom to trust, and who we are.
    pub config: Arc<rustls::ClientConfig>,
    /// Whose certificate the broker has to show.
    pub name: ServerName<'static>,
}

impl Tls {
    /// TLS towards a host of that name or address.
    pub fn new(config: Arc<rustls::ClientConfig>, host: String) -> Result<Self> {
        let name = ServerName::try_from(host)
            .map_err(|error| Error::Unfit(format!("no name for TLS: {error}")))?;
        Ok(Self { config, name })
    }
}

impl Wrap {
    /// Nothing at all.
    pub fn is_none(&self) -> bool {
        self.tls.is_none() && self.compression == Compression::None
    }
}

/// The layers of one connection.
#[derive(Default)]
pub struct Layers {
    tls: Option<Box<ClientConnection>>,
    packer: Packer,
    unpacker: Unpacker,
    raw: Vec<u8>,
    /// Read while layers were being set up; taken before anything else.
    early: Vec<u8>,
    /// Decrypted and not yet unpacked.
    packed: Vec<u8>,
    /// What the last read came to.
    plain: Vec<u8>,
    /// Ready for the socket, up to `sent` gone.
    outgoing: Vec<u8>,
    sent: usize,
}

impl Layers {
    /// Begins TLS on a blocking stream, to the end of its handshake.
    pub fn start_tls(&mut self, stream: &mut TcpStream, tls: &Tls) -> io::Result<()> {
        let session = ClientConnection::new(tls.config.clone(), tls.name.clone());
        let mut session = session.map_err(io::Error::other)?;
        session.set_buffer_limit(None);
        while session.is_handshaking() {
            session.complete_io(stream)?;
        }
        // The broker's next words may have come with the end of the handshake.
        decrypt(&mut session, &[], &mut self.early)?;
        self.tls = Some(Box::new(session));
        Ok(())
    }

    /// Compresses from now on, in both directions; `early` came before anybody knew that it was
    /// compressed.
    pub fn start_compression(&mut self, compression: Compression, early: Vec<u8>) {
        self.early.extend(early);
        self.packer = Packer::new(compression);
        self.unpacker = Unpacker::new(compression);
    }

    /// One read of the socket; returns what came of it, which is nothing when nothing is there yet.
    /// The end of the stream is an error.
    pub fn read(&mut self, stream: &mut TcpStream) -> io::Result<&[u8]> {
        self.plain.clear();
        self.packed.clear();
        std::mem::swap(&mut self.packed, &mut self.early);
        if !self.packed.is_empty() || self.receive(stream)? {
            self.unpacker.unpack(&self.packed, &mut self.plain)?;
            if self.plain.len() > FRAME_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "unpacks to too much"));
            }
            self.answer_tls(stream)?;
        }
        Ok(&self.plain)
    }

    /// One read into `packed`; false when nothing is there yet.
    fn receive(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        self.raw.resize(RAW_BYTES_MAX, 0);
        let came = match stream.read(&mut self.raw) {
            Ok(0) => return Err(end_of_stream()),
            Ok(came) => came,
            Err(error) if is_not_ready(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        match &mut self.tls {
            Some(tls) => decrypt(tls, &self.raw[..came], &mut self.packed)?,
            None => self.packed.extend_from_slice(&self.raw[..came]),
        }
        Ok(true)
    }

    /// Takes as many of `bytes` as there is room for; none while earlier ones are unsent.
    pub fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush(stream)? || bytes.is_empty() {
            return Ok(0);
        }
        let taken = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        let packed = self.packer.pack(taken)?;
        match &mut self.tls {
            Some(tls) => encrypt(tls, packed, &mut self.outgoing)?,
            None => self.outgoing.extend_from_slice(packed),
        }
        self.packer.clear();
        self.flush(stream)?;
        Ok(taken.len())
    }

    /// Sends what is left; true when nothing is.
    pub fn flush(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.sent < self.outgoing.len() {
            match stream.write(&self.outgoing[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if is_not_ready(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Everything that was taken has gone to the socket.
    pub fn is_flushed(&self) -> bool {
        self.sent == self.outgoing.len()
    }

    /// TLS itself may have something to say after a read.
    fn answer_tls(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if let Some(tls) = &mut self.tls
            && tls.wants_write()
        {
            encrypt(tls, &[], &mut self.outgoing)?;
            self.flush(stream)?;
        }
        Ok(())
    }
}

fn decrypt(tls: &mut ClientConnection, mut raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let from = out.len();
        out.resize(from + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut out[from..])?;
        if state.peer_has_closed() && out.is_empty() {
            return Err(end_of_stream());
        }
        if raw.is_empty() {
            return Ok(());
        }
        tls.read_tls(&mut raw)?;
    }
}

fn encrypt(tls: &mut ClientConnection, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    tls.writer().write_all(plain)?;
    while tls.wants_write() {
        tls.write_tls(out)?;
    }
    Ok(())
}

fn end_of_stream() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed")
}

/// The socket has nothing, or no room, right now.
pub fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
