//! PEM files: certificates, keys, authorities.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};
use std::sync::Arc;

use super::names::parse;
use super::{TlsError, provider};
use crate::config::go_text::errno_text;

/// A certificate with those that vouch for it, and its key.
pub fn certified_key(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert)?;
    // Clients check what they care about; but what is no certificate at all is a mistake here.
    parse(&chain[0]).map_err(|error| TlsError::of(cert, format!("no certificate - {error}")))?;
    let certified = CertifiedKey::new(chain, signing_key(key)?);
    match certified.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let cert = cert.display();
            Err(TlsError::of(key, format!("the key does not belong to the certificate in {cert}")))
        }
        // Old kinds of certificates cannot be compared; they are served nevertheless.
        _ => Ok(certified),
    }
}

fn signing_key(path: &Path) -> Result<Arc<dyn SigningKey>, TlsError> {
    let bytes = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(&bytes) => {
            TlsError::of(path, "the key is encrypted; it has to be there without a passphrase")
        }
        error => TlsError::of(path, wrong_pem(&error, "private key")),
    })?;
    // The library's reason may tell of the key; that it is unusable is all that anyone needs.
    let signing = provider().key_provider.load_private_key(key);
    signing.map_err(|_| TlsError::of(path, "the key is damaged or of a kind that is not supported"))
}

/// The authorities in a file: all that can be read, and at least one.
pub fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates(path)?) {
        (0, _) => Err(TlsError::of(path, "no certificate in it can be an authority")),
        _ => Ok(roots),
    }
}

/// The authorities that the machine trusts.
pub fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => Err(TlsError("this machine has no list of trusted authorities".to_owned())),
        _ => Ok(roots),
    }
}

/// The certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(TlsError::of(path, wrong_pem(&pem::Error::NoItemsFound, "certificate"))),
        Err(error) => Err(TlsError::of(path, wrong_pem(&error, "certificate"))),
    }
}

/// A file, or the original's words for why it cannot be read.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path)
        .map_err(|error| TlsError(format!("open {}: {}", path.display(), errno_text(&error))))
}

/// What is wrong with a PEM file. The library's words may quote the file, so they are not used.
fn wrong_pem(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {wanted} in PEM format in it"),
        pem::Error::MissingSectionEnd { .. } => {
            format!("the {wanted} is cut off: its END line is missing")
        }
        pem::Error::Base64Decode(_) => format!("the {wanted} is damaged: it is not base64"),
        _ => format!("the {wanted} is damaged"),
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"ENCRYPTED").is_some()
}
