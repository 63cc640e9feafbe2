//! TLS: records in, plain bytes out, and the other way round; what goes wrong in the original's
//! words.

use std::io::Read;
use std::sync::Arc;

use rustls::{
    AlertDescription, CertificateError, Error, PeerIncompatible, ServerConfig, ServerConnection,
};
use shards::upgrade::Encryption;

use super::Fault;
use super::backlog::Backlog;
use crate::tls::{cipher_suite_name, common_name, version_name};

/// What stands before a record: its kind, a version, its length.
const RECORD_HEADER_BYTES: usize = 5;
/// The longest record; the library complains about longer ones.
const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + (1 << 14) + 2048;
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
/// How a connection in the version before the first one begins.
const SSL2: u8 = 0x80;
/// What it gets, which it may understand: a fatal alert that the version is not supported.
const VERSION_ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";

/// One side of an encrypted connection: the server's.
pub struct Tls {
    connection: Box<ServerConnection>,
    /// The first record has been looked at.
    begun: bool,
    /// The peer has said that it sends no more.
    ended: bool,
}

impl Tls {
    /// Waits for a client's first record.
    pub fn new(config: Arc<ServerConfig>) -> Result<Tls, Fault> {
        let mut connection = ServerConnection::new(config).map_err(Fault::internal)?;
        // What is written is taken out at once.
        connection.set_buffer_limit(None);
        Ok(Tls { connection: Box::new(connection), begun: false, ended: false })
    }

    /// Whether nothing but the handshake may be sent.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has said that it sends no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes some of what was received; false when there is nothing to take. What has to be sent
    /// in return, be it only the reason for a failure, goes to `wire`.
    pub fn receive(&mut self, received: &mut Backlog, wire: &mut Vec<u8>) -> Result<bool, Fault> {
        if self.ended || received.is_empty() {
            return Ok(false);
        }
        let mut bytes = received.bytes();
        if self.is_handshaking() {
            // Whole records, so that what is left says whether the peer ended within one.
            let Some(header) = bytes.first_chunk() else { return Ok(false) };
            if !std::mem::replace(&mut self.begun, true) {
                check_first_record(header, wire)?;
            }
            let record = record_bytes(header);
            if record <= RECORD_BYTES_MAX {
                let Some(whole) = bytes.get(..record) else { return Ok(false) };
                bytes = whole;
            }
        }
        let taken = self.connection.read_tls(&mut bytes).map_err(Fault::internal)?;
        received.take(taken);
        let outcome = self.connection.process_new_packets();
        self.drain(wire);
        let state = outcome.map_err(|error| Fault::peer(words(&error)))?;
        self.ended = state.peer_has_closed();
        Ok(true)
    }

    /// Plain bytes that came, as many as there is room for.
    pub fn read(&mut self, room: &mut [u8]) -> usize {
        // It says that it would block when there is nothing, or that the peer has ended.
        self.connection.reader().read(room).unwrap_or(0)
    }

    /// Encrypts.
    pub fn write(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Fault> {
        use std::io::Write;
        self.connection.writer().write_all(plain).map_err(Fault::internal)?;
        self.drain(wire);
        Ok(())
    }

    /// Says that nothing more comes.
    pub fn close(&mut self, wire: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.drain(wire);
    }

    fn drain(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A vector takes everything.
            if self.connection.write_tls(wire).is_err() {
                return;
            }
        }
    }

    /// What was agreed on.
    pub fn encryption(&self) -> Encryption {
        let certificate = self.connection.peer_certificates().and_then(<[_]>::first);
        Encryption {
            version: self.connection.protocol_version().map_or("", version_name).to_owned(),
            cipher_suite: self
                .connection
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| cipher_suite_name(suite.suite()).into_owned()),
            common_name: certificate.map_or_else(String::new, common_name),
        }
    }
}

/// The length of a record with its header.
fn record_bytes(header: &[u8; RECORD_HEADER_BYTES]) -> usize {
    RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]))
}

/// Whether a connection begins like TLS; the original looks at the same, and
/// sends no alert but to old versions.
fn check_first_record(header: &[u8; RECORD_HEADER_BYTES], wire: &mut Vec<u8>) -> Result<(), Fault> {
    let [kind, major, ..] = *header;
    match kind {
        SSL2 => {
            wire.extend_from_slice(VERSION_ALERT);
            Err(Fault::peer("tls: unsupported SSLv2 handshake received".to_owned()))
        }
        ALERT | HANDSHAKE if major < 0x10 => Ok(()),
        _ => Err(Fault::peer("tls: first record does not look like a TLS handshake".to_owned())),
    }
}

/// An error as the original puts it, where it has words for it.
fn words(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        Error::InvalidCertificate(reason) => {
            format!("tls: failed to verify certificate: x509: {}", certificate_words(reason))
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "tls: client offered only unsupported versions".to_owned(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "tls: no cipher suite supported by both client and server".to_owned()
        }
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_words(*alert)),
        other => format!("tls: {other}"),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid: it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid: it is not yet valid".to_owned()
        }
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        other => other.to_string(),
    }
}

fn alert_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::BadCertificate => "bad certificate".to_owned(),
        AlertDescription::UnknownCA => "unknown certificate authority".to_owned(),
        AlertDescription::CertificateExpired => "expired certificate".to_owned(),
        AlertDescription::CertificateRequired => "certificate required".to_owned(),
        AlertDescription::CertificateUnknown => "unknown certificate".to_owned(),
        AlertDescription::UnsupportedCertificate => "unsupported certificate".to_owned(),
        AlertDescription::ProtocolVersion => "protocol version not supported".to_owned(),
        AlertDescription::HandshakeFailure => "handshake failure".to_owned(),
        AlertDescription::DecryptError => "error decrypting message".to_owned(),
        AlertDescription::UserCanceled => "user canceled".to_owned(),
        other => format!("alert({})", u8::from(other)),
    }
}
