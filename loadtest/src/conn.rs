//! One non-blocking TCP connection: reads go through a buffer that all connections share, and
//! only an incomplete tail is kept per connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::READ_BYTES_MAX;
use crate::codec::FRAME_BYTES_MAX;
use crate::poll::{Interest, Poller};
use crate::requests::{Pattern, Progress};
use crate::wrap::{Layers, is_not_ready};

/// Where reads of all connections go, one after the other; it grows when a frame needs it.
pub struct ReadBuffer(Vec<u8>);

impl ReadBuffer {
    /// Of the size that suits most reads.
    pub fn new() -> Self {
        Self(vec![0; READ_BYTES_MAX])
    }
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection in a [`Poller`].
pub struct Conn {
    stream: TcpStream,
    /// TLS and compression, if there is any.
    layers: Option<Box<Layers>>,
    token: usize,
    interest: Interest,
    /// The beginning of a frame whose end has not come yet.
    tail: Vec<u8>,
}

impl Conn {
    /// Takes over a connected stream and makes it non-blocking.
    pub fn adopt(stream: TcpStream, token: usize) -> io::Result<Self> {
        Self::layered(stream, None, token)
    }

    /// The same with what its bytes are wrapped in.
    pub fn layered(
        stream: TcpStream,
        layers: Option<Box<Layers>>,
        token: usize,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, layers, token, interest: Interest::Read, tail: Vec::new() })
    }

    /// Starts waiting for input.
    pub fn register(&self, poller: &Poller) -> io::Result<()> {
        poller.add(&self.stream, self.token)
    }

    /// Waits for room for output exactly while `unsent` output is left.
    pub fn wait_for_room(&mut self, poller: &Poller, unsent: bool) -> io::Result<()> {
        let unsent = unsent || self.layers.as_ref().is_some_and(|layers| !layers.is_flushed());
        let interest = if unsent { Interest::ReadWrite } else { Interest::Read };
        if interest != self.interest {
            poller.set(&self.stream, self.token, interest)?;
            self.interest = interest;
        }
        Ok(())
    }

    /// One read; returns the kept tail and what came, in one piece, at the front of `buffer`.
    ///
    /// The caller hands back what it could not use with [`Conn::keep`].
    pub fn read<'b>(&mut self, buffer: &'b mut ReadBuffer) -> io::Result<&'b [u8]> {
        let (bytes, kept) = (&mut buffer.0, self.tail.len());
        if kept * 2 > bytes.len() {
            if kept > FRAME_BYTES_MAX {
                let text = format!("a frame larger than {FRAME_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            bytes.resize(kept * 2, 0);
        }
        bytes[..kept].copy_from_slice(&self.tail);
        self.tail.clear();
        let came = match &mut self.layers {
            None => read_plain(&mut self.stream, &mut bytes[kept..])?,
            Some(layers) => {
                let plain = layers.read(&mut self.stream)?;
                let end = kept + plain.len();
                if end > bytes.len() {
                    bytes.resize(end, 0);
                }
                bytes[kept..end].copy_from_slice(plain);
                plain.len()
            }
        };
        Ok(&bytes[..kept + came])
    }

    /// Keeps the incomplete rest of a read for the next one.
    pub fn keep(&mut self, rest: &[u8]) {
        debug_assert!(self.tail.is_empty());
        self.tail.extend_from_slice(rest);
    }

    /// One write; returns how much went out, which is 0 when there is no room.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(layers) = &mut self.layers {
            return layers.write(&mut self.stream, bytes);
        }
        match self.stream.write(bytes) {
            Err(error) if is_not_ready(&error) => Ok(0),
            other => other,
        }
    }

    /// Writes what `progress` has left, until that is all or there is no room.
    pub fn write_pattern(&mut self, pattern: &Pattern, progress: &mut Progress) -> io::Result<()> {
        self.flush()?;
        while !progress.is_done() {
            let bytes = progress.next_bytes(pattern);
            let written = self.write(bytes)?;
            progress.advance(pattern, written);
            // Layers take a piece at a time and say no when there is no room.
            let is_full = if self.layers.is_some() { written == 0 } else { written < bytes.len() };
            if is_full {
                break;
            }
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends what the layers still hold.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.layers {
            Some(layers) => layers.flush(&mut self.stream).map(drop),
            None => Ok(()),
        }
    }
}

/// Bytes made for one connection and not sent yet.
#[derive(Default)]
pub struct Outbox {
    /// What is to be sent; append here.
    pub bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Writes what is left, and waits for room if not all of it went out.
    pub fn flush(&mut self, conn: &mut Conn, poller: &Poller) -> io::Result<()> {
        conn.flush()?;
        while self.sent < self.bytes.len() {
            let written = conn.write(&self.bytes[self.sent..])?;
            self.sent += written;
            if written == 0 || conn.layers.is_none() {
                break;
            }
        }
        let unsent = self.sent < self.bytes.len();
        if !unsent {
            self.bytes.clear();
            self.sent = 0;
        }
        conn.wait_for_room(poller, unsent)
    }

    /// Bytes that have not been sent.
    pub fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn read_plain(stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    match stream.read(bytes) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed")),
        Ok(came) => Ok(came),
        Err(error) if is_not_ready(&error) => Ok(0),
        Err(error) => Err(error),
    }
}
