//! A server's stream, plain or encrypted, as hyper sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::net::carrier::Carrier;

/// The way to a server.
#[derive(Debug)]
pub struct ServerStream(pub Carrier);

impl Read for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(self.0.reader().poll_read(cx, buf.initialize_unfilled()))?;
        // SAFETY: the whole of the unfilled part was initialized above, and `count` is no more.
        unsafe { buf.advance(count.min(buf.remaining())) };
        Poll::Ready(Ok(()))
    }
}

impl Write for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.writer().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.writer().poll_close(cx)
    }
}
