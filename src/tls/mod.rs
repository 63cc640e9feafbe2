//! TLS as all programs use it: from the paths of PEM files to configurations that rustls takes.
//!
//! What can be wrong with files is said with the file's name and a reason, and never with anything
//! out of it. What is loaded can be loaded again while connections are open: those keep what they
//! began with. `server` is for who accepts, `client` for who connects, `stream` for either on an
//! executor, `names` for who shows what was agreed on.
//!
//! TLS before 1.2 does not exist here: where a flag allows it, 1.2 is what holds.

mod client;
mod files;
mod names;
mod server;
mod stream;
mod verify;

use std::path::Path;
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

pub use client::{ClientFiles, server_name};
pub use names::{cipher_suite_name, common_name, version_name};
pub use server::{ClientAuth, ServerFiles, ServerTls};
pub use stream::TlsStream;

use crate::config::value::TlsVersion;

/// What is wrong with a file, or with what was asked for. It never holds anything secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    fn of(path: &Path, reason: impl std::fmt::Display) -> TlsError {
        TlsError(format!("{}: {reason}", path.display()))
    }
}

/// Whether an oldest version that was asked for is older than what is spoken.
pub fn is_raised(oldest: TlsVersion) -> bool {
    matches!(oldest, TlsVersion::Tls10 | TlsVersion::Tls11)
}

/// The versions from the oldest one on.
fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match oldest {
        TlsVersion::Tls10 | TlsVersion::Tls11 | TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

/// The cryptography. It is always named: a default would depend on what is linked in.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
mod tests;
