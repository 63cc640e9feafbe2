//! A connection's bytes, plain or encrypted.

use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;

use futures_io::{AsyncRead, AsyncWrite};

use super::stream::Stream;
use crate::tls::TlsStream;

/// A stream, and what may be around it.
#[derive(Debug)]
pub enum Carrier {
    /// As it is.
    Plain(Stream),
    /// Encrypted.
    Tls(Box<TlsStream<Stream>>),
}

impl Carrier {
    /// Where what the other side says comes from.
    pub fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            Carrier::Plain(stream) => Pin::new(stream),
            Carrier::Tls(stream) => Pin::new(&mut **stream),
        }
    }

    /// Where what it is told goes.
    pub fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Carrier::Plain(stream) => Pin::new(stream),
            Carrier::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsRawFd for Carrier {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Carrier::Plain(stream) => stream.as_raw_fd(),
            Carrier::Tls(stream) => stream.below().as_raw_fd(),
        }
    }
}
