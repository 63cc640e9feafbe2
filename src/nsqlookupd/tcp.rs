//! Connections of producers: bytes to their sessions and back, each within its time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::limits::READ_BYTES;
use super::protocol::{Context, Session, SessionSettings};
use super::shared::Shared;
use super::wire::{Wire, WireSettings};
use crate::net::connections::Connection;
use crate::net::stream::Stream;

/// What connections of producers have in common.
#[derive(Debug)]
pub struct TcpSettings {
    /// How long a client may take for its greeting, for a line and for a body.
    pub greeting_timeout: Duration,
    /// How long it may be silent between commands.
    pub client_timeout: Duration,
    /// What they talk about.
    pub session: SessionSettings,
    /// TLS, or none.
    pub wire: WireSettings,
}

/// Serves a connection until it ends.
pub async fn serve(mut connection: Connection, shared: Rc<Shared>, settings: Rc<TcpSettings>) {
    let remote = connection.remote.clone();
    tracing::info!("TCP: new client({remote})");
    let mut guest = Guest { session: Session::new(remote.clone()), shared };
    let outcome = converse(&mut connection, &mut guest, &settings).await;
    let reason = match &outcome {
        Ok(()) => "EOF".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::error!("client({remote}) - {reason}");
    if outcome.is_ok() && guest.session.is_closed() {
        connection.linger().await;
    }
}

/// A session that leaves the registry when it goes, however it goes.
struct Guest {
    session: Session,
    shared: Rc<Shared>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Guest { session, shared } = self;
        shared.with(|registry, _| session.disconnect(registry));
    }
}

async fn converse(
    connection: &mut Connection,
    guest: &mut Guest,
    settings: &TcpSettings,
) -> io::Result<()> {
    connection.watch.within(Some(settings.greeting_timeout));
    let mut wire = Wire::new(&settings.wire);
    let mut buffer = vec![0; READ_BYTES];
    let (mut input, mut said, mut output) = (Vec::new(), Vec::new(), Vec::new());
    let mut was_awaited = true;
    loop {
        let read = read(&mut connection.stream, &mut buffer).await?;
        let received = wire.take_in(&buffer[..read], &mut input);
        let mut taken = 0;
        if wire.is_open() {
            taken = guest.take(&input, settings, &mut said);
            input.drain(..taken);
        }
        if read == 0 {
            guest.session.end(&mut said);
        }
        wire.put_out(&mut said, &mut output)?;
        if guest.session.is_closed() {
            wire.close(&mut output);
        }
        write(&mut connection.stream, &mut output).await?;
        received?;
        if read == 0 || guest.session.is_closed() {
            return Ok(());
        }
        // Whoever has begun something may not prolong its time byte by byte.
        let is_awaited = !wire.is_open() || guest.session.is_awaiting(&input);
        if taken > 0 || is_awaited != was_awaited {
            let time = if is_awaited { settings.greeting_timeout } else { settings.client_timeout };
            connection.watch.within(Some(time));
        }
        was_awaited = is_awaited;
        // One that never stops talking must not keep the others from their turn.
        glommio::executor().yield_now().await;
    }
}

impl Guest {
    fn take(&mut self, input: &[u8], settings: &TcpSettings, said: &mut Vec<u8>) -> usize {
        let session = &mut self.session;
        self.shared.with(|registry, now| {
            session.take(input, &mut Context { registry, settings: &settings.session, now }, said)
        })
    }
}

async fn read(stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await
}

/// Writes all of it, and empties it.
async fn write(stream: &mut Stream, output: &mut Vec<u8>) -> io::Result<()> {
    let mut written = 0;
    while written < output.len() {
        let rest = &output[written..];
        written += poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, rest)).await?;
    }
    output.clear();
    Ok(())
}
