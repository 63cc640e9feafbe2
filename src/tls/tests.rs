//! Files that are right, wrong, and changed; handshakes in memory between both sides.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::{
    ClientAuth, ClientFiles, ServerFiles, ServerTls, cipher_suite_name, common_name, is_raised,
    server_name, version_name,
};
use crate::config::value::TlsVersion;

/// A folder with an authority, and certificates that it signed.
struct Files {
    folder: TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Files {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let files = Files { folder, authority: Issuer::new(params, key) };
        files.make("server", |_| {});
        files.make("client", |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        });
        files
    }

    /// Makes `<name>.pem` and `<name>.key`.
    fn make(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> ServerFiles {
        ServerFiles {
            cert: self.path("server.pem"),
            key: self.path("server.key"),
            root_ca: None,
            client_auth: ClientAuth::None,
            oldest: TlsVersion::Tls10,
        }
    }

    fn client(&self) -> ClientFiles {
        ClientFiles {
            root_ca: Some(self.path("ca.pem")),
            identity: None,
            insecure: false,
            oldest: TlsVersion::Tls12,
        }
    }

    fn identity(&self, name: &str) -> Option<(PathBuf, PathBuf)> {
        Some((self.path(&format!("{name}.pem")), self.path(&format!("{name}.key"))))
    }
}

/// Lets both sides talk until they agree; the server's view, or who refused first and why.
fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<ServerConnection, Error> {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let name = server_name("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    while server.is_handshaking() || client.is_handshaking() || client.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(server)
}

#[test]
fn a_handshake_shows_version_suite_and_no_name() {
    let files = Files::new();
    let server = shake(&files.server().load().unwrap(), &files.client().load().unwrap()).unwrap();
    assert_eq!(version_name(server.protocol_version().unwrap()), "TLS1.3");
    let suite = server.negotiated_cipher_suite().unwrap().suite();
    assert!(cipher_suite_name(suite).starts_with("Unknown 486"), "{suite:?}");
    assert!(server.peer_certificates().is_none());
}

#[test]
fn tls_13_may_be_required() {
    let files = Files::new();
    let mut strict = files.server();
    strict.oldest = TlsVersion::Tls13;
    let server = shake(&strict.load().unwrap(), &files.client().load().unwrap()).unwrap();
    assert_eq!(version_name(server.protocol_version().unwrap()), "TLS1.3");
    let raised = [TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13];
    assert_eq!(raised.map(is_raised), [true, true, false, false]);
}

#[test]
fn any_certificate_will_do_where_one_is_required() {
    let files = Files::new();
    let mut server = files.server();
    server.client_auth = ClientAuth::Require;
    let server = server.load().unwrap();
    let mut client = files.client();
    let refused = shake(&server, &client.load().unwrap());
    assert_eq!(refused.err(), Some(Error::NoCertificatesPresented));
    for name in ["client", "server"] {
        client.identity = files.identity(name);
        let server = shake(&server, &client.load().unwrap()).unwrap();
        assert_eq!(common_name(&server.peer_certificates().unwrap()[0]), name);
    }
}

#[test]
fn a_certificate_is_verified_where_that_is_required() {
    let (files, strangers) = (Files::new(), Files::new());
    files.make("expired", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    files.make("for_servers", |params| {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    });
    let mut server = files.server();
    server.client_auth = ClientAuth::RequireVerify;
    server.root_ca = Some(files.path("ca.pem"));
    let server = server.load().unwrap();
    let check = |identity, allowed| {
        let client = ClientFiles { identity, ..files.client() };
        let result = shake(&server, &client.load().unwrap());
        assert_eq!(result.is_ok(), allowed, "{:?}", result.err());
    };
    check(files.identity("client"), true);
    check(None, false);
    check(files.identity("expired"), false);
    check(files.identity("for_servers"), false);
    check(strangers.identity("client"), false);
}

#[test]
fn a_client_checks_the_server_unless_told_not_to() {
    let (files, strangers) = (Files::new(), Files::new());
    let server = strangers.server().load().unwrap();
    let mut client = files.client();
    assert!(shake(&server, &client.load().unwrap()).is_err());
    client.insecure = true;
    assert!(shake(&server, &client.load().unwrap()).is_ok());
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_quoting_it() {
    let files = Files::new();
    files.make("other", |_| {});
    let text = std::fs::read_to_string(files.path("server.key")).unwrap();
    let secret = text.lines().nth(1).unwrap().to_owned();
    files.write("cut.key", &text[..text.len() / 2]);
    files.write("odd.key", &text.replacen(&secret[..4], "%%%%", 1));
    files.write("zeros.key", &text.replace(&secret, "AAAAAAAAAAAAAAAA"));
    files.write("encrypted.key", &text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    files.write("garbage.pem", &text.replace("PRIVATE KEY", "CERTIFICATE"));
    files.write("empty.pem", "");
    let check = |cert: &str, key: &str, reason: &str| {
        let (cert, key) = (files.path(cert), files.path(key));
        let error = ServerFiles { cert, key, ..files.server() }.load().unwrap_err().to_string();
        let plain = error.replace(&format!("{}/", files.folder.path().display()), "");
        assert!(plain.starts_with(reason), "{plain}");
        assert!(!error.contains(&secret[..8]), "{error}");
    };
    check("none.pem", "server.key", "open none.pem: no such file or directory");
    check("empty.pem", "server.key", "empty.pem: there is no certificate in PEM format in it");
    check("server.key", "server.key", "server.key: there is no certificate in PEM format in it");
    check("garbage.pem", "server.key", "garbage.pem: no certificate - ");
    check("server.pem", "server.pem", "server.pem: there is no private key in PEM format in it");
    check("server.pem", "cut.key", "cut.key: the private key is cut off: its END line is missing");
    check("server.pem", "odd.key", "odd.key: the private key is damaged: it is not base64");
    check("server.pem", "zeros.key", "zeros.key: the key is damaged or of a kind that is not ");
    check("server.pem", "encrypted.key", "encrypted.key: the key is encrypted; ");
    check("server.pem", "other.key", "other.key: the key does not belong to the certificate in ");
    let root_ca = Some(files.path("empty.pem"));
    let error = ServerFiles { root_ca, ..files.server() }.load().unwrap_err().to_string();
    assert!(error.ends_with("empty.pem: there is no certificate in PEM format in it"), "{error}");
}

#[test]
fn a_bad_file_keeps_what_was_there() {
    let files = Files::new();
    let client = files.client().load().unwrap();
    let tls = ServerTls::load(files.server()).unwrap();
    let shown = |tls: &ServerTls| {
        let before = shake(&tls.config(), &client).is_ok();
        before.then(|| Arc::as_ptr(&tls.config()))
    };
    let first = shown(&tls).expect("the first certificate is served");
    files.write("server.key", "nothing");
    assert!(tls.reload().is_err());
    assert_eq!(shown(&tls), Some(first));
    files.make("server", |_| {});
    assert_eq!(tls.reload(), Ok(()));
    assert_ne!(shown(&tls).expect("the second certificate is served"), first);
}

#[test]
fn names_are_the_originals() {
    use rustls::{CipherSuite, ProtocolVersion};
    assert_eq!(version_name(ProtocolVersion::TLSv1_2), "TLS1.2");
    assert_eq!(cipher_suite_name(CipherSuite::TLS13_AES_128_GCM_SHA256), "Unknown 4865");
    let known = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    assert_eq!(cipher_suite_name(known), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(common_name(&rustls::pki_types::CertificateDer::from(&b"0"[..])), "");
    let policies = ["require", "require-verify", "", "maybe"].map(ClientAuth::parse);
    use ClientAuth::{None, Require, RequireVerify};
    assert_eq!(policies, [Require, RequireVerify, None, None]);
}

#[test]
fn hosts_become_names() {
    for host in ["localhost", "127.0.0.1", "::1", "[::1]", "a.example"] {
        assert!(server_name(host).is_ok(), "{host}");
    }
    for host in ["", "a b", "a:1"] {
        assert!(server_name(host).is_err(), "{host}");
    }
}
