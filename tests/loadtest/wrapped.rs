//! TLS and compression as a client speaks them, and what happens where they are not offered.

use std::fs;

use ::loadtest::producer::Request;
use ::loadtest::wrap::{self, Compression, Tls, Trust, Wrap};
use ::loadtest::{Error, Target, greet};

use super::{CLOSED, OPEN, consuming, exchange, publishing, run, target};
use crate::harness::{Broker, TempDir, lasting_address, on_each_peer};

/// With a certificate the original listens for HTTPS, too, on a fixed port unless told otherwise.
const ANY_HTTPS: &str = "--https-address=127.0.0.1:0";

/// A certificate for localhost, and files of it in a folder.
struct Certificate {
    folder: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = TempDir::new();
        fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { folder }
    }

    fn flags(&self) -> [String; 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [format!("--tls-cert={}", path("cert.pem")), format!("--tls-key={}", path("key.pem"))]
    }

    /// TLS that trusts this certificate for a host of that name.
    fn tls(&self, name: &str) -> Tls {
        let trust = Trust { ca: Some(self.folder.path().join("cert.pem")), identity: None };
        Tls::new(wrap::client_config(&trust).unwrap(), name.to_owned()).unwrap()
    }
}

fn tls_of_anybody() -> Tls {
    let config = wrap::client_config(&Trust::default()).unwrap();
    Tls::new(config, "127.0.0.1".to_owned()).unwrap()
}

#[test]
fn everything_comes_over_every_wrap() {
    on_each_peer(|peer| {
        let certificate = Certificate::new();
        let flags = certificate.flags();
        let broker = Broker::start(peer, &[&flags[0], &flags[1], ANY_HTTPS]);
        for tls in [None, Some(certificate.tls("localhost")), Some(tls_of_anybody())] {
            for compression in [
                Compression::None,
                Compression::Snappy,
                Compression::Deflate(1),
                Compression::Deflate(6),
            ] {
                let wrap = Wrap { tls: tls.clone(), compression };
                let target = Target { wrap, ..target(&broker) };
                for (request, pace) in [(Request::Mpub(50), CLOSED), (Request::Pub, OPEN)] {
                    run(&target, &exchange(publishing(request, pace), Some(consuming(2))));
                }
            }
        }
    });
}

#[test]
fn https_takes_messages() {
    on_each_peer(|peer| {
        let certificate = Certificate::new();
        let flags = certificate.flags();
        // The log does not name the port of HTTPS before it listens, so it is a fixed one.
        let address = lasting_address();
        let https = format!("--https-address={address}");
        let broker = Broker::start(peer, &[&flags[0], &flags[1], &https]);
        let wrap = Wrap { tls: Some(certificate.tls("localhost")), ..Wrap::default() };
        let target = Target { https: Some(address), wrap, ..target(&broker) };
        run(&target, &exchange(publishing(Request::Http, CLOSED), None));
    });
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    on_each_peer(|peer| {
        let certificate = Certificate::new();
        let flags = certificate.flags();
        let broker = Broker::start(peer, &[&flags[0], &flags[1], ANY_HTTPS]);
        let connect = |tls: Tls| {
            let wrap = Wrap { tls: Some(tls), ..Wrap::default() };
            greet::producer(&Target { wrap, ..target(&broker) }, 0).map(drop)
        };
        connect(certificate.tls("localhost")).unwrap();
        let wrong_name = connect(certificate.tls("example.org")).unwrap_err().to_string();
        assert!(wrong_name.contains("certificate"), "{wrong_name}");
        let wrong_issuer = connect(Certificate::new().tls("localhost")).unwrap_err().to_string();
        assert!(wrong_issuer.contains("certificate"), "{wrong_issuer}");
    });
}

#[test]
fn what_a_broker_does_not_offer_is_named() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--snappy=false", "--deflate=false"]);
        let tls = Wrap { tls: Some(tls_of_anybody()), ..Wrap::default() };
        let snappy = Wrap { compression: Compression::Snappy, ..Wrap::default() };
        let deflate = Wrap { compression: Compression::Deflate(6), ..Wrap::default() };
        for (wrap, name) in [(tls, "tls_v1"), (snappy, "snappy"), (deflate, "deflate")] {
            let outcome = greet::producer(&Target { wrap, ..target(&broker) }, 0).map(drop);
            let is_named = matches!(&outcome, Err(Error::Unfit(text)) if text.contains(name));
            assert!(is_named, "{name}: {outcome:?}");
        }
    });
}
