//! The side that accepts: its certificate, what it wants of clients, and changing both while it
//! runs.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;

use super::verify::AnyCertificate;
use super::{TlsError, files, provider, versions};
use crate::config::value::TlsVersion;

/// Whether clients have to show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// Any certificate will do.
    Require,
    /// It has to come from one of the authorities, for this purpose, and hold now.
    RequireVerify,
}

impl ClientAuth {
    /// The policy of that name; every unknown name means none, as in the original.
    pub fn parse(policy: &str) -> ClientAuth {
        match policy {
            "require" => ClientAuth::Require,
            "require-verify" => ClientAuth::RequireVerify,
            _ => ClientAuth::None,
        }
    }
}

/// What a server's TLS is made from.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// The certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities for clients' certificates; those of the machine when there is none.
    pub root_ca: Option<PathBuf>,
    /// What clients have to show.
    pub client_auth: ClientAuth,
    /// The oldest version that was asked for.
    pub oldest: TlsVersion,
}

impl ServerFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, makes no sense, or does not belong to the others.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let certified = files::certified_key(&self.cert, &self.key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(self.oldest))
            .map_err(|error| TlsError(error.to_string()))?;
        let builder = match self.client_verifier()? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))))
    }

    fn client_verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        // The file is read in any case: a wrong one is a mistake also where nobody uses it.
        let named = self.root_ca.as_deref().map(files::authorities).transpose()?;
        Ok(match self.client_auth {
            ClientAuth::None => None,
            ClientAuth::Require => {
                let hints = named.map_or_else(Vec::new, |roots| roots.subjects());
                Some(Arc::new(AnyCertificate::new(provider(), hints)))
            }
            ClientAuth::RequireVerify => {
                let by_system = named.is_none();
                let roots = Arc::new(named.map_or_else(files::system_authorities, Ok)?);
                let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
                if by_system {
                    // A list of all authorities there are would tell a client nothing.
                    builder = builder.clear_root_hint_subjects();
                }
                Some(builder.build().map_err(|error| TlsError(error.to_string()))?)
            }
        })
    }
}

/// A server's TLS, which can be changed while it runs.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    /// Locked for as long as a pointer is copied, once for each handshake.
    current: RwLock<Arc<ServerConfig>>,
}

impl ServerTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`ServerFiles::load`].
    pub fn load(files: ServerFiles) -> Result<ServerTls, TlsError> {
        let current = RwLock::new(files.load()?);
        Ok(ServerTls { files, current })
    }

    /// What the next handshake is to use.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. When anything is wrong with them, what was loaded before stays.
    ///
    /// # Errors
    /// As [`ServerFiles::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = self.files.load()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}
