//! Handshakes that fail, streams that make no sense, and what is sent too early.

use std::time::{Duration, Instant};

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, Client, SOON, at_once, eventually, identify, on_each_peer, publish};

const ASKS_TLS: &str = r#"{"feature_negotiation":true,"tls_v1":true}"#;
const FAILED: &str = "error: E_IDENTIFY_FAILED IDENTIFY failed ";

/// A client that was told that TLS begins now.
fn before_handshake(broker: &Broker) -> Client {
    let mut client = Client::new(broker);
    client.send(&identify(ASKS_TLS));
    assert!(client.frame().describe().contains(r#""tls_v1":true"#));
    client
}

#[test]
fn what_is_no_handshake_is_told_so_in_plain_text() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = start(peer, &authority, &[]);
        let odd = "tls: first record does not look like a TLS handshake";
        for (bytes, reason) in [
            (&b"PUB t\n\0\0\0\x01x"[..], odd),
            (b"GET / HTTP/1.1\r\n\r\n", odd),
            (b"\x17\x03\x03\x00\x01x", odd),
            (b"\x15\x03\x01\x00\x02\x02\x2a", "remote error: tls: bad certificate"),
        ] {
            let mut client = before_handshake(&broker);
            client.send(bytes);
            client.expect(&format!("{FAILED}{reason}"));
            client.closed();
        }
        // An old version gets an alert first: the version is not supported.
        let mut client = before_handshake(&broker);
        client.send(b"\x80\x2e\x01\x03\x01");
        assert_eq!(client.raw(7), b"\x15\x03\x01\x00\x02\x02\x46");
        client.expect(&format!("{FAILED}tls: unsupported SSLv2 handshake received"));
        client.closed();
        assert!(broker.topic("t").is_null());
        let line = "E_IDENTIFY_FAILED IDENTIFY failed tls: first record";
        eventually("a line in the log", SOON, || broker.log_line(line).is_some());
    });
}

#[test]
fn who_ends_in_the_handshake_is_told_so() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = start(peer, &authority, &[]);
        for (bytes, reason) in [
            (&b""[..], "EOF"),
            (b"\x16\x03", "unexpected EOF"),
            (b"\x16\x03\x01\x00\x40abc", "unexpected EOF"),
        ] {
            let mut client = before_handshake(&broker);
            client.send(bytes);
            client.half_close();
            client.expect(&format!("{FAILED}{reason}"));
            client.closed();
        }
    });
}

/// Five seconds for the whole handshake, whatever the heartbeats are.
#[test]
fn who_is_silent_in_the_handshake_has_five_seconds() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = start(peer, &authority, &[]);
        let check = |heartbeat: &str, begin: &[u8]| {
            let mut client = Client::new(&broker);
            let json = format!("{{\"feature_negotiation\":true,\"tls_v1\":true{heartbeat}}}");
            // Before the broker's clock starts, however late this thread gets to run afterwards.
            let start = Instant::now();
            client.send(&identify(&json));
            client.frame();
            client.send(begin);
            let mut answer = client.next(Duration::from_secs(12)).unwrap().describe();
            while answer == "_heartbeat_" {
                // The original sends what was due meanwhile, in plain text and before the error.
                answer = client.next(SOON).unwrap().describe();
            }
            assert!(answer.starts_with(&format!("{FAILED}read tcp 127.0.0.1:")), "{answer}");
            assert!(answer.ends_with(": i/o timeout"), "{answer}");
            let took = start.elapsed();
            assert!((4900..9000).contains(&took.as_millis()), "{took:?}");
            client.closed();
        };
        at_once(&[&|| check("", b""), &|| check("", b"\x16\x03\x01\x01\x00half"), &|| {
            check(r#","heartbeat_interval":-1"#, b"")
        }]);
    });
}

/// What comes before the answer to IDENTIFY is not run, neither before nor within the new layer.
#[test]
fn what_is_sent_too_early_is_dropped() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let config = authority.client(None, true);
        let broker = start(peer, &authority, &[]);
        for kind in Kind::ALL.into_iter().skip(1) {
            let mut client = Secure::new(broker.tcp);
            let early = publish("early", b"injected");
            client.send_raw(&[identify(&kind.json()), early].concat());
            client.frame().unwrap();
            if kind.tls {
                client.start_tls(&config).unwrap();
                client.ok().unwrap();
            }
            if kind.snappy || kind.deflate {
                client.start_codec(kind);
                client.ok().unwrap();
            }
            client.send(&publish("late", b"x"));
            client.ok().unwrap_or_else(|problem| panic!("{kind:?}: {problem}"));
        }
        assert!(broker.topic("early").is_null());
        assert_eq!(broker.topic("late")["message_count"], 5);
    });
}

/// Bytes that the compression does not know end the connection without a frame.
#[test]
fn streams_that_make_no_sense() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let config = authority.client(None, true);
        let broker = start(peer, &authority, &[]);
        for kind in Kind::ALL.into_iter().filter(|kind| kind.snappy || kind.deflate) {
            // Plain commands, the other compression, a chunk of an unknown kind, a reserved block.
            for bytes in [
                &b"PUB odd\n\0\0\0\x01x"[..],
                b"\xff\x06\x00\x00sNaPpY\x02\x00\x00\x00",
                b"\x07\xff\xff\xff\xff\xff\xff\xff",
            ] {
                let mut client = Secure::open(broker.tcp, kind, &config).unwrap();
                client.send_uncompressed(bytes);
                let (frames, _) = client.rest();
                assert!(frames.is_empty(), "{kind:?} {frames:?}");
            }
        }
        assert!(broker.topic("odd").is_null());
    });
}

/// A command that a damaged stream cuts off gets its error, within the layers.
#[test]
fn a_stream_that_is_damaged_in_a_body() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let config = authority.client(None, true);
        let broker = start(peer, &authority, &[]);
        for kind in Kind::ALL.into_iter().filter(|kind| kind.snappy || kind.deflate) {
            let mut client = Secure::open(broker.tcp, kind, &config).unwrap();
            client.send(b"PUB odd\n\0\0\0\x08half");
            std::thread::sleep(Duration::from_millis(200));
            client.send_uncompressed(b"\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
            let (frames, _) = client.rest();
            assert_eq!(
                frames,
                ["error: E_BAD_MESSAGE PUB failed to read message body"],
                "{kind:?}"
            );
        }
        assert!(broker.topic("odd").is_null());
    });
}

/// Levels are never an error, and a second upgrade is not asked for by any client.
#[test]
fn levels_of_any_kind_work() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = start(peer, &authority, &["--max-deflate-level=9"]);
        for level in [-5_i64, 0, 1, 9, 10, 1 << 40] {
            let mut client = Secure::new(broker.tcp);
            client.send(&identify(&format!(
                "{{\"feature_negotiation\":true,\"deflate\":true,\"deflate_level\":{level}}}"
            )));
            let answer = client.frame().unwrap().describe();
            assert!(answer.contains(r#""deflate":true"#), "{answer}");
            client.start_codec(Kind { deflate: true, ..Kind::default() });
            client.ok().unwrap();
            client.send(&publish("levels", &[b'x'; 5000]));
            client.ok().unwrap();
        }
    });
}
