//! The side that connects: whom it trusts, and what it shows of itself.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::verify::AnyCertificate;
use super::{TlsError, files, provider, versions};
use crate::config::value::TlsVersion;

/// What a client's TLS is made from.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// The authorities for servers' certificates; those of the machine when there is none.
    pub root_ca: Option<PathBuf>,
    /// Its own certificate and key, if it has one to show.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Take any certificate of a server.
    pub insecure: bool,
    /// The oldest version that was asked for.
    pub oldest: TlsVersion,
}

impl ClientFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, makes no sense, or does not belong to the others.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let named = self.root_ca.as_deref().map(files::authorities).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(self.oldest))
            .map_err(|error| TlsError(error.to_string()))?;
        let builder = if self.insecure {
            let any = Arc::new(AnyCertificate::new(provider(), Vec::new()));
            builder.dangerous().with_custom_certificate_verifier(any)
        } else {
            builder.with_root_certificates(named.map_or_else(files::system_authorities, Ok)?)
        };
        Ok(Arc::new(match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let certified = SingleCertAndKey::from(files::certified_key(cert, key)?);
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(certified);
                builder.with_client_cert_resolver(resolver)
            }
        }))
    }
}

/// A host as the name that its certificate has to have: an IP address or a DNS name, no port.
///
/// # Errors
/// When it is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned())
        .map_err(|_| TlsError(format!("{host:?} is neither a host name nor an IP address")))
}
