//! TLS between nsqd and nsqlookupd, where both ask for it: only those hear each other that trust
//! each other. The original has none of this.

use std::time::Duration;

use rcgen::SanType;

use super::lookupd::{Lookupd, Program};
use crate::harness::{Broker, Peer, SOON, eventually};

/// An authority, with a certificate for where nobody listens besides the good ones.
struct Authority(crate::upgrade::Authority);

impl Authority {
    fn new() -> Authority {
        let authority = crate::upgrade::Authority::new();
        let elsewhere = SanType::DnsName("elsewhere.invalid".try_into().unwrap());
        authority.make("wrong", |params| params.subject_alt_names = vec![elsewhere]);
        Authority(authority)
    }

    /// A flag whose value is one of its files.
    fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.0.path(file))
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
            shown.flag("lookupd-tls-cert", "server.pem"),
            shown.flag("lookupd-tls-key", "server.key"),
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
    let lookupd = Lookupd::start_with(Program::Shoal, &ours.server("server"));
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
