//! TLS at the start, and when the files have changed.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::nsqd::TlsOptions;
use crate::config::value::TlsVersion;
use crate::tls::{ClientAuth, ServerFiles, ServerTls, is_raised};

/// What TLS is made of; `None` without a certificate.
///
/// # Errors
/// What is wrong with the files, as the end of a fatal line.
pub fn load(options: &TlsOptions) -> Result<Option<Arc<ServerTls>>, String> {
    if options.cert.is_empty() && options.key.is_empty() {
        return Ok(None);
    }
    let files = ServerFiles {
        cert: PathBuf::from(&options.cert),
        key: PathBuf::from(&options.key),
        root_ca: Some(PathBuf::from(&options.root_ca_file)).filter(|path| path != ""),
        client_auth: ClientAuth::parse(&options.client_auth_policy),
        oldest: options.min_version,
    };
    let tls = ServerTls::load(files);
    tls.map(|tls| Some(Arc::new(tls)))
        .map_err(|error| format!("failed to build TLS config - {error}"))
}

/// What the log says of the versions that are spoken.
pub fn version_line(options: &TlsOptions) -> String {
    match options.min_version {
        TlsVersion::Tls13 => "TLS: the oldest version spoken is tls1.3".to_owned(),
        oldest if is_raised(oldest) => {
            "TLS: the oldest version spoken is tls1.2, older ones are not there".to_owned()
        }
        _ => "TLS: the oldest version spoken is tls1.2".to_owned(),
    }
}

/// Reads the files again, and says in the log what came of it.
pub fn reload(tls: Option<&Arc<ServerTls>>) {
    match tls.map(|tls| tls.reload()) {
        None => tracing::info!("TLS: there are no certificates to read again"),
        Some(Ok(())) => tracing::info!("TLS: certificates were read again, for new connections"),
        Some(Err(error)) => {
            tracing::error!(
                "TLS: certificates stay as they were, the new ones are wrong - {error}"
            );
        }
    }
}
