//! What is asked, what is answered, and what is refused, word for word.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::{Answer, AuthServer, auth, authed, granted};
use crate::harness::{Broker, Client, Frame, SOON, TempDir};
use crate::harness::{bytes, identify, mpub, on_each_peer, publish, show};
use crate::upgrade::{Authority, Kind, Secure, start};

/// A question in the log of the server, as a GET.
const PLAIN: &str =
    "GET /auth?common_name=&remote_ip=127.0.0.1&secret=s+3%26cret%C3%A9%3D~&tls=false";

#[test]
fn a_client_is_asked_about_and_told_who_it_is() {
    on_each_peer(|peer| {
        let server = AuthServer::start(|_| Answer::everything(60));
        let broker = Broker::start(peer, &[&server.flag()]);
        let mut client = Client::new(&broker);
        client.send(&identify("{\"feature_negotiation\":true}"));
        let answer = client.frame().describe();
        assert!(answer.contains("\"auth_required\":true"), "{answer}");
        client.send(&auth("s 3&creté=~"));
        client.expect(&granted(1));
        let seen = server.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].line, PLAIN);
        let accepts = "accept: application/vnd.nsq; version=1.0";
        assert!(seen[0].headers.iter().any(|line| line.eq_ignore_ascii_case(accepts)));
        client.publish("t", b"x");
        client.subscribe("t", "c");
        client.command("RDY 1");
        client.delivery("x", 1);
        let shown = broker.channel("t", "c")["clients"][0].clone();
        assert_eq!(shown["authed"], true, "{shown}");
        assert_eq!(shown["auth_identity"], "alice");
        assert_eq!(shown["auth_identity_url"], "http://id.example/alice");
        let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
        let at = keys.iter().position(|key| *key == "user_agent").unwrap();
        let wanted = ["authed", "auth_identity", "auth_identity_url", "topology_zone"];
        assert_eq!(keys[at + 1..at + 5], wanted);
        assert_eq!(server.seen().len(), 1, "a grant that holds is not asked for again");
    });
}

#[test]
fn without_an_auth_server_nobody_is_asked() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        client.send(&identify("{\"feature_negotiation\":true}"));
        let answer = client.frame().describe();
        assert!(answer.contains("\"auth_required\":false"), "{answer}");
        client.subscribe("t", "c");
        assert!(broker.channel("t", "c")["clients"][0]["authed"].is_null());
        let mut client = Client::new(&broker);
        client.send(&auth("x"));
        client.expect("error: E_AUTH_DISABLED AUTH disabled");
        client.closed();
    });
}

#[test]
fn a_server_may_want_to_be_asked_with_post() {
    on_each_peer(|peer| {
        let server = AuthServer::start(|_| Answer::everything(60));
        let address = format!("--auth-http-address=http://{}/some/path?key=1", server.address);
        let broker = Broker::start(peer, &[&address, "--auth-http-request-method=post"]);
        authed(&broker, "s3cret");
        let seen = server.seen();
        assert_eq!(seen[0].line, "POST /some/path?key=1");
        assert_eq!(
            seen[0].body,
            "{\"common_name\":[\"\"],\"remote_ip\":[\"127.0.0.1\"],\"secret\":[\"s3cret\"],\
             \"tls\":[\"false\"]}"
        );
        let typed = "content-type: application/json";
        assert!(seen[0].headers.iter().any(|line| line.eq_ignore_ascii_case(typed)));
        // With GET the query is appended as it is.
        let broker = Broker::start(peer, &[&address]);
        authed(&broker, "s3cret");
        let wanted =
            "GET /some/path?key=1?common_name=&remote_ip=127.0.0.1&secret=s3cret&tls=false";
        assert_eq!(server.seen()[1].line, wanted);
    });
}

/// The name in a client's certificate is asked about, and the server may want TLS itself.
#[test]
fn over_tls() {
    let authority = Authority::new();
    on_each_peer(|peer| {
        let server = AuthServer::start_tls(&authority, |_| Answer::everything(60));
        let ca = format!("--tls-root-ca-file={}", authority.path("ca.pem"));
        let verify = "--tls-client-auth-policy=require-verify";
        let port = server.address.port();
        let elsewhere = AuthServer::start(move |_| {
            let hint = format!("{{\"message\":\"TLS_REQUIRED\",\"https_port\":{port}}}");
            Answer::Status(403, hint)
        });
        let direct = format!("--auth-http-address=https://127.0.0.1:{port}/auth");
        for flag in [direct, elsewhere.flag()] {
            let broker = start(peer, &authority, &[&flag, &ca, verify]);
            let config = authority.client(Some("client"), true);
            let mut client = Secure::open(broker.tcp, Kind::TLS, &config).unwrap();
            client.send(&auth("s3cret"));
            assert_eq!(client.frame().unwrap().describe(), granted(1));
            let asked = server.seen().pop().unwrap();
            let wanted = "GET /auth?common_name=client&remote_ip=127.0.0.1&secret=s3cret&tls=true";
            assert_eq!(asked.line, wanted);
        }
        assert_eq!((server.seen().len(), elsewhere.seen().len()), (2, 1));
        // A server that cannot prove who it is is not asked.
        let stranger = AuthServer::start_tls(&Authority::new(), |_| Answer::everything(60));
        let strange = format!("--auth-http-address=https://127.0.0.1:{}/", stranger.address.port());
        let broker = Broker::start(peer, &[&strange, &ca]);
        let mut client = Client::new(&broker);
        client.send(&auth("s3cret"));
        client.expect("error: E_AUTH_FAILED AUTH failed");
        assert_eq!(stranger.seen().len(), 0);
    });
}

/// What is refused before anybody is asked, or by a grant that does not allow it.
#[test]
fn refusals() {
    on_each_peer(|peer| {
        let entries = r#"{"topic":"^a","channels":["^$","^c"],"permissions":["publish"]},
            {"topic":"^a","channels":["^c"],"permissions":["subscribe"]}"#;
        let server = AuthServer::start(move |_| Answer::grant(60, entries));
        let broker = Broker::start(peer, &[&server.flag()]);
        for (input, wanted) in [
            ("SUB a c\n", "error: E_AUTH_FIRST AUTH required before SUB"),
            ("PUB a\n<00000001>x", "error: E_AUTH_FIRST AUTH required before PUB"),
            ("DPUB a 1\n<00000001>x", "error: E_AUTH_FIRST AUTH required before DPUB"),
            ("MPUB a\n", "error: E_AUTH_FIRST AUTH required before MPUB"),
            // What is checked before.
            ("SUB a b c/d\n", "error: E_AUTH_FIRST AUTH required before SUB"),
            ("SUB a/b c\n", "error: E_BAD_TOPIC SUB topic name \"a/b\" is not valid"),
            ("PUB a\n<00000000>", "error: E_BAD_MESSAGE PUB invalid message body size 0"),
            ("AUTH x\n", "error: E_INVALID AUTH invalid number of parameters"),
            ("AUTH\n<00000000>", "error: E_BAD_BODY AUTH invalid body size 0"),
            ("AUTH\n<00600000>", "error: E_BAD_BODY AUTH body too big 6291456 > 5242880"),
        ] {
            let mut client = Client::new(&broker);
            client.send(&bytes(input));
            client.expect(wanted);
            client.closed();
        }
        assert!(server.seen().is_empty());
        for (input, wanted) in [
            ("SUB b c\n", r#"E_UNAUTHORIZED AUTH failed for SUB on "b" "c""#),
            ("SUB a d\n", r#"E_UNAUTHORIZED AUTH failed for SUB on "a" "d""#),
            ("PUB b\n<00000001>x", r#"E_UNAUTHORIZED AUTH failed for PUB on "b" """#),
            ("DPUB b 1\n<00000001>x", r#"E_UNAUTHORIZED AUTH failed for DPUB on "b" """#),
            ("MPUB b\n", r#"E_UNAUTHORIZED AUTH failed for MPUB on "b" """#),
            ("AUTH\n<00000001>x", "E_INVALID AUTH already set"),
            ("MPUB a\n<00000000>", "E_BAD_BODY MPUB invalid body size 0"),
        ] {
            let mut client = authed(&broker, "s3cret");
            client.publish("allowed", b"x");
            client.send(&mpub("allowed", &[b"y", b"z"]));
            client.ok();
            client.send(&bytes(input));
            client.expect(&format!("error: {wanted}"));
            client.closed();
        }
        let mut client = authed(&broker, "s3cret");
        client.subscribe("allowed", "channel");
        client.send(&auth("again"));
        client.expect("error: E_INVALID cannot AUTH in current state");
        assert!(broker.topic("b").is_null(), "what is refused makes no topic");
    });
}

/// Which entries of a grant allow what.
#[test]
fn entries_and_their_patterns() {
    let both = r#""permissions":["subscribe","publish"]"#;
    // The entry; whether it lets somebody publish to `topic1`, and consume its `chan`.
    let rows = [
        (format!(r#"{{"topic":"pic","channels":[".*"],{both}}}"#), (true, true)),
        (format!(r#"{{"topic":"^pic","channels":[".*"],{both}}}"#), (false, false)),
        (format!(r#"{{"topic":".*","channels":[],{both}}}"#), (false, false)),
        (format!(r#"{{"topic":".*","channels":["han"],{both}}}"#), (false, true)),
        (format!(r#"{{"topic":".*","channels":[""],{both}}}"#), (true, true)),
        (format!(r#"{{"topic":".*","channels":["^$"],{both}}}"#), (true, false)),
        (format!(r#"{{"topic":"^topic[1&&2]$","channels":[""],{both}}}"#), (true, true)),
        (format!(r#"{{"topic":"^\\Qtopic\\E\\d$","channels":[""],{both}}}"#), (true, true)),
        (format!(r#"{{"TOPIC":"","Channels":[null],{both},"more":1}}"#), (true, true)),
        (r#"{"topic":"","channels":[""],"permissions":["publish"]}"#.to_string(), (true, false)),
        (r#"{"topic":"","channels":[""],"permissions":["subscribe"]}"#.to_string(), (false, true)),
        (r#"{"topic":"","channels":[""]}"#.to_string(), (false, false)),
        (
            r#"{"topic":"no"},{"channels":["."],"permissions":["subscribe"]}"#.to_string(),
            (false, true),
        ),
    ];
    on_each_peer(|peer| {
        let rows_of_server = rows.clone();
        let server = AuthServer::start(move |asked| {
            let number = asked.line.split("secret=row").nth(1).unwrap();
            let number: usize = number.split('&').next().unwrap().parse().unwrap();
            Answer::grant(60, &rows_of_server[number].0)
        });
        let broker = Broker::start(peer, &[&server.flag()]);
        for (number, (entry, (may_publish, may_subscribe))) in rows.iter().enumerate() {
            let mut client = authed(&broker, &format!("row{number}"));
            client.send(&publish("topic1", b"x"));
            let published = client.frame().describe() == "OK";
            let mut client = authed(&broker, &format!("row{number}"));
            client.command("SUB topic1 chan");
            let subscribed = client.frame().describe() == "OK";
            assert_eq!((published, subscribed), (*may_publish, *may_subscribe), "{entry}");
        }
    });
}

/// Wherever a connection goes, its grant goes, too.
#[test]
fn a_grant_moves_with_its_connection() {
    on_each_peer(|peer| {
        let server = AuthServer::start(|_| Answer::everything(60));
        let broker = Broker::start(peer, &[&server.flag()]);
        let mut client = authed(&broker, "s3cret");
        for round in 0..300 {
            client.send(&publish(&format!("moves{}", round / 100), b"x"));
        }
        for _ in 0..300 {
            client.ok();
        }
        client.subscribe("moves1", "c");
        client.command("RDY 100");
        assert_eq!(client.message().body, b"x");
        assert_eq!(server.seen().len(), 1, "{:?}", show(format!("{:?}", server.seen()).as_bytes()));
    });
}

/// A client on a unix socket has no address.
#[test]
fn on_a_unix_socket() {
    on_each_peer(|peer| {
        let server = AuthServer::start(|_| Answer::everything(60));
        let dir = Arc::new(TempDir::new());
        let path = dir.path().join("tcp.sock");
        let tcp = format!("--tcp-address={}", path.display());
        let broker = Broker::start_in(peer, &[&server.flag(), &tcp], dir);
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client.write_all(&[b"  V2", &auth("s3cret")[..]].concat()).unwrap();
        let mut received = Vec::new();
        while Frame::take(&mut received.clone()).is_none() {
            let mut buffer = [0; 1024];
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "closed");
            received.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(Frame::take(&mut received).unwrap().describe(), granted(1));
        let wanted = "GET /auth?common_name=&remote_ip=&secret=s3cret&tls=false";
        assert_eq!(server.seen()[0].line, wanted);
        drop(broker);
    });
}
