//! Who is let in: what is required of connections, by what clients show of themselves.

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, Client, Peer, identify, on_each_peer};

/// What becomes of somebody: without TLS, with TLS and no certificate, with any certificate, with
/// one of the right authority.
type Row = (&'static str, [bool; 4]);

/// The outcomes for each client policy, where TLS is required, and where a policy makes it so.
const POLICIES: [Row; 4] = [
    ("", [false, true, true, true]),
    ("require", [false, false, true, true]),
    ("require-verify", [false, false, false, true]),
    ("whatever", [false, true, true, true]),
];

/// Whether a connection without TLS is served; if not, it is told why.
fn plain_works(broker: &Broker) -> bool {
    let mut client = Client::new(broker);
    client.send(&identify("{\"feature_negotiation\":true}"));
    client.frame();
    client.command("NOP");
    client.command("BOGUS");
    let answer = client.frame().describe();
    let refused = "error: E_INVALID cannot NOP in current state (TLS required)";
    assert!([refused, "error: E_INVALID invalid command BOGUS"].contains(&answer.as_str()));
    client.closed();
    answer != refused
}

fn encrypted_works(
    broker: &Broker,
    authority: &Authority,
    shows: Option<(&Authority, &str)>,
    tls13: bool,
) -> bool {
    let config = authority.client_showing(shows, tls13);
    Secure::open(broker.tcp, Kind::TLS, &config).is_ok_and(|mut client| {
        client.send(b"PUB policy\n\0\0\0\x01x");
        client.ok().is_ok()
    })
}

fn check(peer: Peer, required: &str) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = format!("--tls-root-ca-file={}", authority.path("ca.pem"));
    for (policy, outcomes) in POLICIES {
        let required_flag = format!("--tls-required={required}");
        let policy_flag = format!("--tls-client-auth-policy={policy}");
        let broker = start(peer, &authority, &[&ca, &required_flag, &policy_flag]);
        // Any policy at all makes TLS required.
        let optional = required == "false" && policy.is_empty();
        let what = format!("{required} {policy:?}");
        assert_eq!(plain_works(&broker), outcomes[0] || optional, "{what}");
        let shown = [None, Some((&stranger, "client")), Some((&authority, "client"))];
        for (shows, outcome) in shown.into_iter().zip(&outcomes[1..]) {
            for tls13 in [false, true] {
                let works = encrypted_works(&broker, &authority, shows, tls13);
                let name = shows.map(|(_, name)| name);
                assert_eq!(works, *outcome, "{what} {name:?} {tls13}");
            }
        }
        check_http(&broker, required == "true" || (required == "false" && !policy.is_empty()));
    }
}

/// Plain HTTP is closed only where everything has to be encrypted.
fn check_http(broker: &Broker, closed: bool) {
    let reply = broker.request("GET", "/ping", b"");
    assert_eq!(reply.status, if closed { 403 } else { 200 }, "{reply:?}");
    if closed {
        assert!(reply.text().starts_with("{\"message\": \"TLS_REQUIRED\", \"https_port\": "));
        assert!(!reply.text().ends_with(" 0}"), "{reply:?}");
    }
}

#[test]
fn tls_not_required() {
    on_each_peer(|peer| check(peer, "false"));
}

#[test]
fn tls_required() {
    on_each_peer(|peer| check(peer, "true"));
}

#[test]
fn tls_required_except_over_http() {
    on_each_peer(|peer| check(peer, "tcp-https"));
}

/// A certificate has to hold, and to be meant for clients.
#[test]
fn certificates_that_do_not_hold() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let ca = format!("--tls-root-ca-file={}", authority.path("ca.pem"));
        let broker = start(peer, &authority, &[&ca, "--tls-client-auth-policy=require-verify"]);
        for name in ["expired", "for_servers"] {
            for tls13 in [false, true] {
                let shows = Some((&authority, name));
                assert!(!encrypted_works(&broker, &authority, shows, tls13), "{name} {tls13}");
            }
        }
        assert!(encrypted_works(&broker, &authority, Some((&authority, "client")), true));
    });
}

/// An old version is refused where a newer one is demanded.
#[test]
fn the_oldest_version() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let strict = start(peer, &authority, &["--tls-min-version=tls1.3"]);
        assert!(!encrypted_works(&strict, &authority, None, false));
        assert!(encrypted_works(&strict, &authority, None, true));
        for version in ["", "tls1.0", "TLS1.1", "tls1.2"] {
            let flag = format!("--tls-min-version={version}");
            let broker = start(peer, &authority, &[&flag]);
            assert!(encrypted_works(&broker, &authority, None, false), "{version}");
        }
    });
}

/// Whatever is not IDENTIFY is refused by name, also when it does not exist.
#[test]
fn commands_without_tls_are_refused_by_name() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = start(peer, &authority, &["--tls-required=tcp-https"]);
        for (line, name) in [
            ("NOP\n", "NOP"),
            ("SUB t c\n", "SUB"),
            ("PUB t\n", "PUB"),
            ("MPUB t\r\n", "MPUB"),
            ("BOGUS a b\n", "BOGUS"),
            ("\n", ""),
            (" NOP\n", ""),
            ("identify\n", "identify"),
        ] {
            for all in ["", "IDENTIFY\n\0\0\0\x02{}"] {
                let mut client = Client::new(&broker);
                client.send(format!("{all}{line}").as_bytes());
                if !all.is_empty() {
                    client.ok();
                }
                let answer =
                    format!("error: E_INVALID cannot {name} in current state (TLS required)");
                client.expect(&answer);
                client.closed();
            }
        }
        assert!(broker.topic("t").is_null());
    });
}
