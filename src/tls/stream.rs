//! TLS over a stream of the executor: rustls decides, this moves the bytes.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// An encrypted stream.
#[derive(Debug)]
pub struct TlsStream<T> {
    below: T,
    session: Connection,
}

/// A stream for the length of one poll, as rustls wants it: what is not there would block.
struct Blocking<'a, 'b, T> {
    below: &'a mut T,
    cx: &'a mut Context<'b>,
}

impl<T: AsyncRead + Unpin> Read for Blocking<'_, '_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.below).poll_read(self.cx, buf) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<T: AsyncWrite + Unpin> Write for Blocking<'_, '_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.below).poll_write(self.cx, buf) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match Pin::new(&mut *self.below).poll_flush(self.cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// What would block is not there yet.
fn poll_of<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> TlsStream<T> {
    /// Greets a server of this name and checks that it is one.
    ///
    /// # Errors
    /// Those of the stream, and those of rustls inside of one.
    pub async fn connect(
        below: T,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        TlsStream { below, session: session.into() }.greeted().await
    }

    /// Answers a client's greeting.
    ///
    /// # Errors
    /// As with [`TlsStream::connect`].
    pub async fn accept(below: T, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        TlsStream { below, session: session.into() }.greeted().await
    }

    /// The stream that is encrypted.
    pub fn below(&self) -> &T {
        &self.below
    }

    async fn greeted(mut self) -> io::Result<Self> {
        std::future::poll_fn(|cx| self.poll_greet(cx)).await?;
        Ok(self)
    }

    fn poll_greet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.session.wants_write() {
                ready!(self.poll_write_tls(cx))?;
            }
            if !self.session.is_handshaking() {
                return Pin::new(&mut self.below).poll_flush(cx);
            }
            if ready!(self.poll_read_tls(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn poll_write_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = poll_of(self.session.write_tls(&mut Blocking { below: &mut self.below, cx }));
        match ready!(written)? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    /// Takes in what came. 0 is the end of the stream below.
    fn poll_read_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = poll_of(self.session.read_tls(&mut Blocking { below: &mut self.below, cx }));
        let count = ready!(read)?;
        if let Err(error) = self.session.process_new_packets() {
            // The other side should hear why, if it still listens.
            let _ = self.poll_write_tls(cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        Poll::Ready(Ok(count))
    }

    /// Sends what is due; `Pending` when not all of it can go.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            ready!(self.poll_write_tls(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            // Reading may have made something to say, such as new keys.
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            match poll_of(self.session.reader().read(buf)) {
                Poll::Pending => {}
                // An end without a farewell is an error, and rustls says so.
                outcome => return outcome,
            }
            ready!(self.poll_read_tls(cx))?;
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            // rustls takes so much ahead of what has been sent, and then no more.
            let taken = self.session.writer().write(buf)?;
            let sent = self.poll_send(cx)?;
            if taken > 0 || buf.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            ready!(sent);
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.below).poll_close(cx)
    }
}
