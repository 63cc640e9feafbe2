//! TLS between nsqd and nsqlookupd, where both ask for it: only those hear each other that trust
//! each other. The original has none of this.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::lookupd::{Lookupd, Program};
use crate::harness::{Broker, Peer, SOON, TempDir, eventually};

/// A folder with an authority's certificate, and certificates that it has signed.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = TempDir::new();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let authority = Authority { folder, issuer: Issuer::new(params, key) };
        authority.make("right", &["127.0.0.1"]);
        authority.make("wrong", &["elsewhere.invalid"]);
        authority
    }

    fn make(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(hosts).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join(format!("{name}.key")), key.serialize_pem())
            .unwrap();
    }

    /// A flag whose value is one of its files.
    fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.folder.path().join(file).display())
    }

    /// The flags of a nsqlookupd that shows this certificate, and wants one in turn.
    fn server(&self, name: &str) -> Vec<String> {
        vec![
            self.flag("tls-cert", &format!("{name}.pem")),
            self.flag("tls-key", &format!("{name}.key")),
            self.flag("tls-root-ca-file", "ca.pem"),
            "--tls-client-auth-policy=require-verify".to_owned(),
        ]
    }

    /// The flags of an nsqd that trusts this authority only, and shows a certificate of another.
    fn client(&self, shown: &Authority) -> Vec<String> {
        vec![
            "--lookupd-tls".to_owned(),
            self.flag("lookupd-tls-root-ca-file", "ca.pem"),
            shown.flag("lookupd-tls-cert", "right.pem"),
            shown.flag("lookupd-tls-key", "right.key"),
        ]
    }
}

fn nsqd(lookupd: &Lookupd, tls: &[String]) -> Broker {
    let mut flags = vec![lookupd.flag()];
    flags.extend_from_slice(tls);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Broker::start(Peer::Shoal { shards: 1 }, &flags)
}

#[test]
fn only_those_hear_each_other_that_trust_each_other() {
    let (ours, other) = (Authority::new(), Authority::new());
    let lookupd = Lookupd::start_with(Program::Shoal, &ours.server("right"));
    let mistaken = Lookupd::start_with(Program::Shoal, &ours.server("wrong"));
    let refused = [
        (nsqd(&lookupd, &[]), "plain where TLS is wanted"),
        (nsqd(&lookupd, &ours.client(&other)), "the certificate of a stranger"),
        (nsqd(&lookupd, &other.client(&ours)), "a nsqlookupd that is not trusted"),
        (nsqd(&mistaken, &ours.client(&ours)), "a nsqlookupd of another name"),
    ];
    let good = nsqd(&lookupd, &ours.client(&ours));
    good.post("/topic/create?topic=good");
    for (broker, _) in &refused {
        broker.post("/topic/create?topic=bad");
    }
    lookupd.await_registered(&["good"]);
    for (broker, why) in &refused {
        eventually(why, SOON, || broker.log_line("ERROR: LOOKUPD(").is_some());
    }
    std::thread::sleep(Duration::from_millis(500));
    lookupd.await_registered(&["good"]);
    mistaken.await_registered(&[]);
    // What changes is told, too.
    good.post("/channel/create?topic=good&channel=c");
    lookupd.await_registered(&["good", "good/c"]);
}
