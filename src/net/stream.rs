//! A connected socket on a glommio executor, as futures and as hyper see streams.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

/// Bytes thrown away at once.
const DISCARD_BYTES: usize = 16 * 1024;
/// Bytes thrown away in all: a request that was refused for its size, but not one without an end.
const DISCARDED_BYTES_MAX: usize = 8 << 20;
/// When the system asks a silent client whether it is still there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection, TCP or unix: what glommio does with a TCP stream, it may do with either.
///
/// Dropping it ends the connection at once.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
}

impl Stream {
    /// Takes a connected socket of the executor of this thread.
    ///
    /// # Errors
    /// When the socket refuses an option: it is broken already.
    pub fn new(socket: TcpStream) -> io::Result<Stream> {
        let stream = Stream { socket };
        let options = SockRef::from(&stream);
        options.set_cloexec(true)?;
        if options.local_addr()?.as_socket().is_some() {
            options.set_tcp_nodelay(true)?;
            let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
            options.set_tcp_keepalive(&keepalive)?;
        }
        Ok(stream)
    }

    /// The other side's `ip:port`, or `@` for a unix socket.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn remote(&self) -> io::Result<String> {
        let address = SockRef::from(self).peer_addr()?;
        Ok(address.as_socket().map_or_else(
            || "@".to_owned(),
            // A listener for both families names an IPv4 peer as if it were an IPv6 one.
            |address| SocketAddr::new(address.ip().to_canonical(), address.port()).to_string(),
        ))
    }
}

/// Reads and throws away until the end, an error, or more than is bearable.
pub async fn discard(
    mut poll_read: impl FnMut(&mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
) {
    let mut buffer = vec![0; DISCARD_BYTES];
    let mut discarded_bytes = 0;
    while discarded_bytes < DISCARDED_BYTES_MAX {
        match poll_fn(|cx| poll_read(cx, &mut buffer)).await {
            Ok(0) | Err(_) => return,
            Ok(read) => discarded_bytes += read,
        }
    }
}

/// Ends one direction of a socket or both.
pub fn shutdown(socket: RawFd, how: Shutdown) {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no pointers are passed. It fails when the other side was quicker, which is as good.
    unsafe { libc::shutdown(socket, how) };
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket stays open for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The reactor may hold the socket open for a poll of its own until it next runs.
        shutdown(self.as_raw_fd(), Shutdown::Both);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // glommio has no such write, but it knows how to wait for room.
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match SockRef::from(&*self).send_vectored_with_flags(bufs, flags) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let first = bufs.iter().find(|buf| !buf.is_empty());
                self.poll_write(cx, first.map_or(&[], |buf| &**buf))
            }
            outcome => Poll::Ready(outcome),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
