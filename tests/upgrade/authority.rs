//! Certificates made for one test: an authority, and those that it signs.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

use crate::harness::TempDir;

/// An authority in a folder: `ca.pem`, and a pair of files for each certificate.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// With certificates for a server and a client, one that has expired, and one that is for
    /// servers only.
    pub fn new() -> Authority {
        let folder = TempDir::new();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let authority = Authority { folder, issuer: Issuer::new(params, key) };
        authority.make("server", |_| {});
        authority.make("client", |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        });
        authority.make("expired", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
        authority.make("for_servers", |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        });
        authority
    }

    /// Makes `<name>.pem` and `<name>.key`, or makes them anew.
    pub fn make(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let hosts = ["localhost".to_string(), "127.0.0.1".to_string()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// The path of one of its files.
    pub fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    /// What a client needs that trusts this authority and shows this certificate of it.
    pub fn client(&self, shows: Option<&str>, tls13: bool) -> Arc<ClientConfig> {
        self.client_showing(shows.map(|name| (self, name)), tls13)
    }

    /// The same with a certificate of any authority.
    pub fn client_showing(
        &self,
        shows: Option<(&Authority, &str)>,
        tls13: bool,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let versions = if tls13 { [&TLS13] } else { [&TLS12] };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some((authority, name)) => {
                let file = |ending| authority.path(&format!("{name}.{ending}"));
                let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
                let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
                // It is shown also to servers that name other authorities.
                let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
                let shown = rustls::sign::CertifiedKey::new(chain, key);
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                    shown,
                )))
            }
        })
    }
}
