//! Certificates that change while the broker runs.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, SOON, eventually, on_each_shoal};

fn works(broker: &Broker, config: &Arc<ClientConfig>) -> bool {
    Secure::open(broker.tcp, Kind::TLS, config).is_ok()
}

fn reload(broker: &Broker, expected: &str) {
    let before = broker.log_count(expected);
    broker.signal(libc::SIGHUP);
    eventually(expected, SOON, || broker.log_count(expected) > before);
}

/// Two authorities that take turns in the same files.
#[test]
fn new_certificates_are_for_new_connections() {
    on_each_shoal("a SIGHUP ends the original", |peer| {
        let (first, second) = (Authority::new(), Authority::new());
        let broker = start(peer, &first, &[]);
        let [old, new] = [&first, &second].map(|authority| authority.client(None, true));
        let mut open = Secure::open(broker.tcp, Kind::TLS, &old).unwrap();
        assert!(!works(&broker, &new));
        for file in ["server.pem", "server.key"] {
            std::fs::copy(second.path(file), first.path(file)).unwrap();
        }
        assert!(works(&broker, &old));
        reload(&broker, "TLS: certificates were read again");
        assert!(works(&broker, &new));
        assert!(!works(&broker, &old));
        open.send(b"PUB t\n\0\0\0\x01x");
        assert_eq!(open.ok(), Ok(()));
    });
}

#[test]
fn a_bad_file_keeps_the_old_and_is_named() {
    on_each_shoal("a SIGHUP ends the original", |peer| {
        let authority = Authority::new();
        let config = authority.client(None, true);
        let broker = start(peer, &authority, &[]);
        let key = authority.path("server.key");
        let secret = std::fs::read_to_string(&key).unwrap();
        let damaged = secret.replace('\n', "\n%");
        let kept = "TLS: certificates stay as they were, the new ones are wrong - ";
        for bad in ["", &damaged, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            std::fs::write(&key, bad).unwrap();
            reload(&broker, kept);
            assert!(works(&broker, &config));
        }
        assert!(broker.log_line(kept).unwrap().contains(&key));
        let body = secret.lines().nth(1).unwrap();
        assert!(broker.log_line(&body[..12]).is_none(), "no key is ever logged");
        std::fs::write(&key, &secret).unwrap();
        reload(&broker, "TLS: certificates were read again");
        assert!(works(&broker, &config));
    });
}

#[test]
fn without_certificates_a_hangup_changes_nothing() {
    on_each_shoal("a SIGHUP ends the original", |peer| {
        let broker = Broker::start(peer, &[]);
        reload(&broker, "TLS: there are no certificates to read again");
        assert_eq!(broker.request("GET", "/ping", b"").status, 200);
    });
}

/// What is wrong with a file at the start ends the start, in the original's words as far as it has
/// some.
#[test]
fn a_start_with_wrong_files_fails() {
    use crate::harness::{TempDir, on_each_peer};
    on_each_peer(|peer| {
        let authority = Authority::new();
        let (cert, key) = (authority.path("server.pem"), authority.path("server.key"));
        let fails = |flags: &[&str], reason: &str| {
            let dir = TempDir::new();
            let exit = Broker::run(Broker::command(peer, flags, &dir), SOON);
            assert_eq!(exit.status.code(), Some(1), "{flags:?} {}", exit.output);
            assert!(exit.output.contains(reason), "{flags:?} {}", exit.output);
        };
        let [cert, key] = [format!("--tls-cert={cert}"), format!("--tls-key={key}")];
        let wrong = "failed to build TLS config - ";
        let missing = format!("{wrong}open /nope: no such file or directory");
        fails(&["--tls-cert=/nope", &key], &missing);
        fails(&[&cert, "--tls-key=/nope"], &missing);
        fails(&[&cert], &format!("{wrong}open : no such file or directory"));
        fails(&[&cert, &key, "--tls-root-ca-file=/nope"], &missing);
        fails(&[&cert, &format!("--tls-key={}", authority.path("client.key"))], wrong);
        let nothing = "cannot require TLS client connections without TLS key and cert";
        fails(&["--tls-required"], nothing);
        fails(&["--tls-client-auth-policy=require"], nothing);
    });
}
