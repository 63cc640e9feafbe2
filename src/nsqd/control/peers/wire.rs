//! What stands between a session's bytes and those of its connection: nothing, or TLS.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};

use super::answer::Trouble;
use crate::tls::server_name;

/// See the module's text.
#[derive(Debug)]
pub enum Wire {
    /// They are the same.
    Plain,
    /// They are within TLS.
    Tls(Box<ClientConnection>),
}

impl Wire {
    /// A connection that was just made to this host, in TLS where a configuration is given.
    ///
    /// # Errors
    /// When the host has no name that a certificate could have.
    pub fn new(tls: Option<Arc<ClientConfig>>, host: &str) -> Result<Wire, Trouble> {
        let Some(config) = tls else { return Ok(Wire::Plain) };
        let name = server_name(host).map_err(|error| Trouble::Tls(error.to_string()))?;
        let connection = ClientConnection::new(config, name).map_err(failed)?;
        Ok(Wire::Tls(Box::new(connection)))
    }

    /// Bytes of the connection arrived: what they say goes behind `plain`.
    ///
    /// # Errors
    /// When TLS fails.
    pub fn take_in(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), Trouble> {
        let Wire::Tls(connection) = self else {
            plain.extend_from_slice(bytes);
            return Ok(());
        };
        while !bytes.is_empty() {
            connection.read_tls(&mut bytes).map_err(failed)?;
            let state = connection.process_new_packets().map_err(failed)?;
            let before = plain.len();
            plain.resize(before + state.plaintext_bytes_to_read(), 0);
            connection.reader().read_exact(&mut plain[before..]).map_err(failed)?;
        }
        Ok(())
    }

    /// Puts behind `bytes` what is to be sent for these of the session, and what TLS has to say
    /// itself. So many of the session's were taken.
    ///
    /// # Errors
    /// When TLS has failed before.
    pub fn put_out(&mut self, plain: &[u8], bytes: &mut Vec<u8>) -> Result<usize, Trouble> {
        let Wire::Tls(connection) = self else {
            bytes.extend_from_slice(plain);
            return Ok(plain.len());
        };
        let taken = connection.writer().write(plain).map_err(failed)?;
        while connection.wants_write() {
            connection.write_tls(bytes).map_err(failed)?;
        }
        Ok(taken)
    }
}

fn failed(error: impl std::fmt::Display) -> Trouble {
    Trouble::Tls(error.to_string())
}
