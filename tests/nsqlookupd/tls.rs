//! Producers within TLS, on the port that plain ones use. `openssl` is the client.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{identify, identity};
use super::{Kind, Lookupd, Producer, on_our_lookupd};
use crate::harness::{SOON, TempDir};

/// What `openssl` makes: an authority, and certificates of a server and a client under it.
const MAKE: &str = "
    set -e
    new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650'
    openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=authority
    for name in server client; do
        openssl req $new -keyout $name.key -out $name.csr -subj /CN=$name
        echo subjectAltName=DNS:localhost > $name.ext
        openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
            -extfile $name.ext -out $name.pem
    done
    openssl req -x509 $new -keyout stranger.key -out stranger.pem -subj /CN=stranger";

/// A directory with certificates, or nothing where there is no `openssl`.
fn certificates() -> Option<TempDir> {
    let dir = TempDir::new();
    let made = Command::new("bash").args(["-c", MAKE]).current_dir(dir.path()).output();
    match made {
        Ok(output) if output.status.success() => Some(dir),
        other => {
            eprintln!("needs openssl: {other:?}");
            None
        }
    }
}

fn start(dir: &Path, flags: &[&str]) -> Lookupd {
    let path = |name: &str| dir.join(name).display().to_string();
    let (cert, key) = (path("server.pem"), path("server.key"));
    let (cert, key) = (format!("--tls-cert={cert}"), format!("--tls-key={key}"));
    let ca = format!("--tls-root-ca-file={}", path("ca.pem"));
    Lookupd::start(Kind::Shoal, &[&[cert.as_str(), &key, &ca], flags].concat())
}

/// What a producer within TLS hears after its greeting; nothing where it is not let in.
fn heard(lookupd: &Lookupd, dir: &Path, identity_of: Option<&str>, version: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", version, "-servername", "localhost"]);
    command.args(["-verify_return_error", "-verify_hostname", "localhost", "-CAfile", "ca.pem"]);
    command.args(["-connect", &lookupd.process.tcp.to_string()]);
    if let Some(name) = identity_of {
        command.args(["-cert", &format!("{name}.pem"), "-key", &format!("{name}.key")]);
    }
    command.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let said = [b"  V1", identify(&identity(9)).as_slice(), b"REGISTER t c\nNOPE\n"].concat();
    // It may have been sent away already.
    let _ = stdin.write_all(&said);
    let reader = thread::spawn(move || {
        let mut heard = Vec::new();
        stdout.read_to_end(&mut heard).unwrap();
        heard
    });
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < SOON, "the error did not end the connection");
        thread::sleep(Duration::from_millis(10));
    }
    reader.join().unwrap()
}

fn is_served(heard: &[u8]) -> bool {
    heard.ends_with(b"\0\0\0\x02OK\0\0\0\x1eE_INVALID invalid command NOPE")
}

#[test]
fn one_port_serves_plain_and_tls() {
    on_our_lookupd("the original has no TLS here", || {
        let Some(dir) = certificates() else { return };
        let lookupd = start(dir.path(), &[]);
        for version in ["-tls1_2", "-tls1_3"] {
            let heard = heard(&lookupd, dir.path(), None, version);
            assert!(is_served(&heard), "{version}: {:?}", String::from_utf8_lossy(&heard));
        }
        let mut plain = Producer::identified(&lookupd, 1);
        plain.command("REGISTER t d");
        assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["c", "d"]);
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1]);
    });
}

#[test]
fn certificates_of_producers_are_asked_for() {
    on_our_lookupd("the original has no TLS here", || {
        let Some(dir) = certificates() else { return };
        let lookupd = start(dir.path(), &["--tls-client-auth-policy=require-verify"]);
        for (name, served) in [(Some("client"), true), (Some("stranger"), false), (None, false)] {
            let heard = heard(&lookupd, dir.path(), name, "-tls1_3");
            assert_eq!(is_served(&heard), served, "{name:?}");
        }
        // Without TLS nobody gets in at all.
        let mut plain = Producer::connect(&lookupd);
        plain.say(b"  V1PING\n");
        assert_eq!(plain.answer(), None);
        let lookupd = start(dir.path(), &["--tls-client-auth-policy=require"]);
        for (name, served) in [(Some("stranger"), true), (None, false)] {
            let heard = heard(&lookupd, dir.path(), name, "-tls1_3");
            assert_eq!(is_served(&heard), served, "{name:?}");
        }
    });
}

#[test]
fn a_bad_file_is_named() {
    on_our_lookupd("the original has no TLS here", || {
        let exit = Lookupd::run(
            Kind::Shoal,
            &["--tls-cert=/no/such.pem", "--tls-key=/no/such.key", "--tcp-address=127.0.0.1:0"],
        );
        assert_eq!(exit.status.code(), Some(1));
        let text = "failed to build TLS config - open /no/such.pem: no such file or directory";
        assert!(exit.output.contains(text), "{}", exit.output);
    });
}
