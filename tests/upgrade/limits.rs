//! What layers may cost: memory for compression, a few bytes that stand for many, handshakes.

use std::time::{Duration, Instant};

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, Client, SOON, eventually, identify, on_each_peer, on_each_shoal};
use crate::harness::{publish, rss_bytes};

const DEFLATE: Kind = Kind { tls: false, snappy: false, deflate: true };

/// Whether somebody who asks for deflate gets it.
fn given(broker: &Broker) -> (bool, Secure) {
    let mut client = Secure::new(broker.tcp);
    client.send(&identify(&DEFLATE.json()));
    let answer = client.frame().unwrap().describe();
    let given = answer.contains(r#""deflate":true"#);
    if given {
        client.start_codec(DEFLATE);
        client.ok().unwrap();
    }
    client.send(&publish("given", b"x"));
    client.ok().unwrap();
    (given, client)
}

/// Who finds no room works without compression; room comes back when others end.
#[test]
fn memory_for_compression_is_bounded() {
    on_each_shoal("the original has no such bound", |peer| {
        let broker = Broker::start(peer, &["--compression-memory=1MB"]);
        let (first, one) = given(&broker);
        let (second, _two) = given(&broker);
        let (third, _three) = given(&broker);
        assert_eq!([first, second, third], [true, true, false]);
        let line = "--compression-memory is used up";
        eventually("a line in the log", SOON, || broker.log_line(line).is_some());
        drop(one);
        eventually("room for another", SOON, || given(&broker).0);
    });
}

/// A message is refused by its size as soon as that is known; nothing of it is unpacked for that.
#[test]
fn a_bomb_is_refused_at_the_message_limit() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        for kind in Kind::ALL.into_iter().filter(|kind| kind.snappy || kind.deflate) {
            let mut client = Secure::open(broker.tcp, kind, &config).unwrap();
            let mut bomb = b"PUB bomb\n\x40\0\0\0".to_vec();
            bomb.resize(8 << 20, 0);
            client.send(&bomb);
            let (frames, _) = client.rest();
            let refused = "error: E_BAD_MESSAGE PUB message too big 1073741824 > 1048576";
            // The original may reset the connection before its error has been read.
            if !(peer.is_original() && frames.is_empty()) {
                assert_eq!(frames, [refused], "{kind:?}");
            }
        }
        assert!(broker.topic("bomb").is_null());
    });
}

/// A few kilobytes that stand for millions of commands without an answer: others are served
/// meanwhile, and memory stays what it was.
#[test]
fn a_bomb_of_commands_costs_no_memory() {
    on_each_shoal("its memory is the garbage collector's", |peer| {
        let broker = Broker::start(peer, &["--shards=1", "--memory-limit=64MB"]);
        let mut client = Secure::open(broker.tcp, DEFLATE, &Authority::new().client(None, true));
        let bomber = client.as_mut().unwrap();
        bomber.send(&publish("bomb", b"x"));
        bomber.ok().unwrap();
        let before = rss_bytes(broker.pid());
        for _ in 0..4 {
            let packed = bomber.pack(&b"NOP\n".repeat(2 << 20));
            assert!(packed.len() < 100_000, "{}", packed.len());
            assert!(bomber.send_uncompressed(&packed));
            let start = Instant::now();
            Client::new(&broker).publish("bomb", b"y");
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        }
        let after = rss_bytes(broker.pid());
        assert!(after < before + (24 << 20), "{before} {after}");
    });
}

/// With one handshake at a time everybody gets a turn, and somebody who does not go on is in the
/// way for five seconds at most.
#[test]
fn handshakes_wait_for_their_turn() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_shoal("the original has no such bound", |peer| {
        let broker = start(peer, &authority, &["--tls-handshakes=1"]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (broker, config) = (&broker, &config);
                scope.spawn(move || {
                    let mut client = Secure::open(broker.tcp, Kind::TLS, config).unwrap();
                    client.send(&publish("turns", b"x"));
                    client.ok().unwrap();
                });
            }
        });
        assert_eq!(broker.topic("turns")["message_count"], 8);
        let mut stuck = Secure::new(broker.tcp);
        stuck.send(&identify(&Kind::TLS.json()));
        stuck.frame().unwrap();
        stuck.send_raw(b"\x16\x03\x01\x01\x00half");
        std::thread::sleep(Duration::from_millis(500));
        let waits = Secure::open(broker.tcp, Kind::TLS, &config);
        assert!(waits.is_ok(), "{:?}", waits.err());
    });
}

/// While others shake hands without pause, a client that is connected is answered soon.
#[test]
fn a_flood_of_handshakes_leaves_others_alone() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_shoal("a bound of Shoal's own", |peer| {
        let broker = start(peer, &authority, &[]);
        let mut client = Client::new(&broker);
        client.publish("flood", b"x");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = Secure::open(broker.tcp, Kind::TLS, &config);
                    }
                });
            }
            let mut slowest = Duration::ZERO;
            for _ in 0..200 {
                let start = Instant::now();
                client.publish("flood", b"x");
                slowest = slowest.max(start.elapsed());
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        });
    });
}
