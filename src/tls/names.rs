//! What was agreed on, in the words in which `/stats` shows it.

use std::borrow::Cow;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::name::DirectoryString;

/// The attribute `commonName` of a name.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A version as the original calls it.
pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLS1.2",
        ProtocolVersion::TLSv1_3 => "TLS1.3",
        _ => "",
    }
}

/// A cipher suite as the original calls it: it knows the names of few, and numbers the others.
pub fn cipher_suite_name(suite: CipherSuite) -> Cow<'static, str> {
    match suite {
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into()
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()
        }
        other => format!("Unknown {}", u16::from(other)).into(),
    }
}

/// The common name in a certificate; empty when it has none. Of several, the last counts, as in
/// the original.
pub fn common_name(certificate: &CertificateDer<'_>) -> String {
    let Ok(certificate) = parse(certificate) else { return String::new() };
    let names = certificate.tbs_certificate().subject().iter();
    names
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .filter_map(|attribute| attribute.value.decode_as::<DirectoryString>().ok())
        .last()
        .map_or_else(String::new, |name| name.value().into_owned())
}

/// A certificate's parts. Nothing in it is checked beyond its form.
pub fn parse(certificate: &CertificateDer<'_>) -> x509_cert::der::Result<Certificate> {
    Certificate::from_der(certificate)
}
