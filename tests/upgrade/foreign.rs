//! Other people's TLS against every policy: `openssl s_client`, and Python's ssl.
//!
//! NSQ's TLS begins in the middle of a connection, which s_client does not know: a relay says
//! for it what comes before, and then only passes bytes on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::{Authority, start};
use crate::harness::{Broker, Peer, SOON, identify, on_each_peer};

/// Two frames with `OK` in them: that of the layer, and that of a publish.
const OKS: &[u8] = b"\0\0\0\x06\0\0\0\0OK\0\0\0\x06\0\0\0\0OK";
const PUBLISH: &[u8] = b"PUB policy\n\0\0\0\x01x";

/// For each client policy, who gets through TLS: somebody without a certificate, with any, with
/// one of the right authority.
const POLICIES: [(&str, [bool; 3]); 4] = [
    ("", [true, true, true]),
    ("require", [false, true, true]),
    ("require-verify", [false, false, true]),
    ("whatever", [true, true, true]),
];

/// Where somebody connects who speaks TLS from the first byte on.
fn relay(broker: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(broker).unwrap();
        let json = "{\"feature_negotiation\":true,\"tls_v1\":true}";
        server.write_all(&[b"  V2", &identify(json)[..]].concat()).unwrap();
        let mut size = [0; 4];
        server.read_exact(&mut size).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        server.read_exact(&mut answer).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut client = client;
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    address
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether s_client gets through and can publish.
fn openssl(broker: &Broker, authority: &Authority, shows: Option<&Authority>, tls13: bool) -> bool {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"]);
    command.args(["-connect", &relay(broker.tcp).to_string()]);
    command.args(["-CAfile", &authority.path("ca.pem")]);
    command.arg(if tls13 { "-tls1_3" } else { "-tls1_2" });
    if let Some(owner) = shows {
        command.args(["-cert", &owner.path("client.pem"), "-key", &owner.path("client.key")]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().expect("openssl is installed"));
    let mut stdin = running.0.stdin.take().unwrap();
    let mut stdout = running.0.stdout.take().unwrap();
    // Should it have ended already, there is nothing to read either.
    let _ = stdin.write_all(PUBLISH);
    let mut said = vec![0; OKS.len()];
    stdout.read_exact(&mut said).is_ok() && said == OKS
}

/// The same for Python.
fn python(broker: &Broker, authority: &Authority, shows: Option<&Authority>, tls13: bool) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("upgrade/python.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(broker.tcp.port().to_string()).arg(authority.path("ca.pem"));
    command.arg(if tls13 { "TLS1_3" } else { "TLS1_2" });
    if let Some(owner) = shows {
        command.args([owner.path("client.pem"), owner.path("client.key")]);
    }
    let exit = Broker::run(command, 2 * SOON);
    exit.status.success() && exit.output.trim() == "OK"
}

fn check(peer: Peer, required: &str) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = format!("--tls-root-ca-file={}", authority.path("ca.pem"));
    let required = format!("--tls-required={required}");
    for (policy, outcomes) in POLICIES {
        let policy_flag = format!("--tls-client-auth-policy={policy}");
        let broker = start(peer, &authority, &[&ca, &required, &policy_flag]);
        let shown = [None, Some(&stranger), Some(&authority)];
        for (number, (shows, outcome)) in shown.into_iter().zip(outcomes).enumerate() {
            // Each version with each tool, but not everything twice.
            let tls13 = number % 2 == 0;
            for (tool, tls13) in [("openssl", tls13), ("python", !tls13)] {
                let works = match tool {
                    "openssl" => openssl(&broker, &authority, shows, tls13),
                    _ => python(&broker, &authority, shows, tls13),
                };
                assert_eq!(works, outcome, "{required} {policy:?} {number} {tool} {tls13}");
            }
        }
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

/// A server that somebody else vouches for is not talked to.
#[test]
fn a_server_of_a_strange_authority() {
    on_each_peer(|peer| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let broker = start(peer, &authority, &[]);
        assert!(!openssl(&broker, &stranger, None, true));
        assert!(!python(&broker, &stranger, None, true));
    });
}
