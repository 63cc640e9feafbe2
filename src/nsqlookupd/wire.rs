//! What stands between a connection's bytes and its session: nothing, or TLS.
//!
//! The first byte decides: a TLS handshake begins with 22, the protocol's magic with a space. So
//! one port serves both, as long as the operator lets it.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// The first byte of a TLS connection: a record of the kind "handshake".
const TLS_HANDSHAKE: u8 = 22;

/// What a listener wants of its connections.
#[derive(Clone, Debug, Default)]
pub struct WireSettings {
    /// For TLS; without it everything is taken for plain.
    pub tls: Option<Arc<ServerConfig>>,
    /// Plain connections are refused.
    pub tls_required: bool,
}

/// The layer of one connection.
#[derive(Debug)]
pub enum Wire {
    /// Nothing has come yet.
    Undecided(WireSettings),
    /// The session's bytes are the connection's.
    Plain,
    /// They are within TLS.
    Tls(Box<ServerConnection>),
}

impl Wire {
    /// The layer of a new connection.
    pub fn new(settings: &WireSettings) -> Wire {
        Wire::Undecided(settings.clone())
    }

    /// Takes bytes of the connection and appends what they bring to the session.
    ///
    /// # Errors
    /// When TLS fails. What is to be said about it is put out all the same.
    pub fn take_in(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        if let Wire::Undecided(settings) = self {
            let Some(first) = bytes.first() else { return Ok(()) };
            *self = match &settings.tls {
                Some(config) if *first == TLS_HANDSHAKE => {
                    let connection = ServerConnection::new(Arc::clone(config));
                    Wire::Tls(Box::new(connection.map_err(io::Error::other)?))
                }
                _ if settings.tls_required => {
                    return Err(io::Error::other("TLS is required, and this is not TLS"));
                }
                _ => Wire::Plain,
            };
        }
        match self {
            Wire::Tls(connection) => decrypt(connection, bytes, plain),
            _ => {
                plain.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Whether the session may speak: not before the greeting of TLS is done.
    pub fn is_open(&self) -> bool {
        match self {
            Wire::Undecided(_) => false,
            Wire::Plain => true,
            Wire::Tls(connection) => !connection.is_handshaking(),
        }
    }

    /// Appends what the session says, and what TLS has to say itself, as bytes of the connection.
    ///
    /// # Errors
    /// When TLS has failed before.
    pub fn put_out(&mut self, plain: &mut Vec<u8>, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Wire::Tls(connection) => {
                // The library keeps all of it: its buffer was given no limit.
                connection.writer().write_all(plain)?;
                plain.clear();
                write_all(connection, bytes)
            }
            _ => {
                bytes.append(plain);
                Ok(())
            }
        }
    }

    /// Appends the end of a conversation.
    pub fn close(&mut self, bytes: &mut Vec<u8>) {
        if let Wire::Tls(connection) = self {
            connection.send_close_notify();
            // Memory takes everything.
            let _ = write_all(connection, bytes);
        }
    }
}

fn write_all(connection: &mut ServerConnection, bytes: &mut Vec<u8>) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(bytes)?;
    }
    Ok(())
}

fn decrypt(
    connection: &mut ServerConnection,
    mut bytes: &[u8],
    plain: &mut Vec<u8>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes)?;
        let state = connection.process_new_packets().map_err(io::Error::other)?;
        let before = plain.len();
        plain.resize(before + state.plaintext_bytes_to_read(), 0);
        connection.reader().read_exact(&mut plain[before..])?;
    }
    Ok(())
}
