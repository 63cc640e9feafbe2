//! One non-blocking TCP connection: reads go through a buffer that all connections share, and
//! only an incomplete tail is kept per connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::poll::{Interest, Poller};
use crate::requests::{Pattern, Progress};

/// A connection in a [`Poller`].
pub struct Conn {
    stream: TcpStream,
    token: usize,
    interest: Interest,
    /// The beginning of a frame whose end has not come yet.
    tail: Vec<u8>,
}

impl Conn {
    /// Connects and writes `greeting` (a magic, or nothing), then goes non-blocking.
    pub fn connect(address: SocketAddr, greeting: &[u8], token: usize) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(greeting)?;
        Self::adopt(stream, token)
    }

    /// Takes over a connected stream and makes it non-blocking.
    pub fn adopt(stream: TcpStream, token: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, token, interest: Interest::Read, tail: Vec::new() })
    }

    /// Starts waiting for input.
    pub fn register(&self, poller: &Poller) -> io::Result<()> {
        poller.add(&self.stream, self.token)
    }

    /// Waits for room for output exactly while `unsent` output is left.
    pub fn wait_for_room(&mut self, poller: &Poller, unsent: bool) -> io::Result<()> {
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
    pub fn read<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let kept = self.tail.len();
        if kept >= buffer.len() {
            let text = format!("a frame larger than {} bytes", buffer.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        buffer[..kept].copy_from_slice(&self.tail);
        self.tail.clear();
        match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed")),
            Ok(came) => Ok(&buffer[..kept + came]),
            Err(error) if is_not_ready(&error) => Ok(&buffer[..kept]),
            Err(error) => Err(error),
        }
    }

    /// Keeps the incomplete rest of a read for the next one.
    pub fn keep(&mut self, rest: &[u8]) {
        debug_assert!(self.tail.is_empty());
        self.tail.extend_from_slice(rest);
    }

    /// One write; returns how much went out, which is 0 when there is no room.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if is_not_ready(&error) => Ok(0),
            other => other,
        }
    }

    /// Writes what `progress` has left, until that is all or there is no room.
    pub fn write_pattern(&mut self, pattern: &Pattern, progress: &mut Progress) -> io::Result<()> {
        while !progress.is_done() {
            let bytes = progress.next_bytes(pattern);
            let written = self.write(bytes)?;
            progress.advance(pattern, written);
            if written < bytes.len() {
                break;
            }
        }
        Ok(())
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
    /// One write of what is left, and a wait for room if not all of it went out.
    pub fn flush(&mut self, conn: &mut Conn, poller: &Poller) -> io::Result<()> {
        if self.sent < self.bytes.len() {
            self.sent += conn.write(&self.bytes[self.sent..])?;
        }
        let unsent = self.sent < self.bytes.len();
        if !unsent {
            self.bytes.clear();
            self.sent = 0;
        }
        conn.wait_for_room(poller, unsent)
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
