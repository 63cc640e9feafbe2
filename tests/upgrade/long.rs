//! What takes minutes, or a machine that has little else to do: `make test-long`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, Client, Frame, on_each_peer, on_each_shoal, publish};

const IDLE: Duration = Duration::from_secs(600);
/// Publishes whose times are taken, and how many of them may be slower than what is compared.
const SAMPLES: usize = 3000;
const SLOWEST: usize = SAMPLES / 100;
/// How often a comparison is tried: the machine has other work.
const ATTEMPTS: usize = 3;
const FLOODERS: usize = 3;

/// Nothing but heartbeats for ten minutes, and then a message.
#[test]
#[ignore = "takes ten minutes"]
fn idle_connections_stay() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        std::thread::scope(|scope| {
            for (number, kind) in Kind::ALL.into_iter().enumerate() {
                let (broker, config) = (&broker, &config);
                scope.spawn(move || {
                    let mut client = Secure::open(broker.tcp, kind, config).unwrap();
                    client.send(format!("SUB idle{number} c\nRDY 1\n").as_bytes());
                    client.ok().unwrap();
                    let end = Instant::now() + IDLE;
                    while Instant::now() < end {
                        // Heartbeats are answered while it waits.
                        assert_eq!(client.frame().err().as_deref(), Some("silent"), "{kind:?}");
                    }
                    Client::new(broker).publish(&format!("idle{number}"), b"awake");
                    let Ok(Frame::Message(message)) = client.frame() else {
                        panic!("{kind:?}: no message");
                    };
                    assert_eq!(message.text(), "awake");
                });
            }
        });
    });
}

/// The time that publishes take, the slowest hundredth left out.
fn p99(broker: &Broker) -> Duration {
    let mut client = Client::new(broker);
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            client.send(&publish("flood", b"x"));
            client.ok();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[SAMPLES - SLOWEST]
}

/// The same while others shake hands without pause with `flooded`.
fn p99_beside(broker: &Broker, flooded: &Broker, authority: &Authority) -> Duration {
    let config = authority.client(None, true);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..FLOODERS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = Secure::open(flooded.tcp, Kind::TLS, &config);
                }
            });
        }
        let time = p99(broker);
        stop.store(true, Ordering::Relaxed);
        time
    })
}

/// Handshakes cost processor time, wherever they happen. So the quiet value is that beside a flood
/// of another broker: what is left is what handshakes do to those who share the broker with them.
#[test]
#[ignore = "measures"]
fn a_flood_of_handshakes_costs_others_little() {
    let authority = Authority::new();
    on_each_shoal("a bound of Shoal's own", |peer| {
        let (broker, other) = (start(peer, &authority, &[]), start(peer, &authority, &[]));
        p99(&broker);
        let mut seen = Vec::new();
        for _ in 0..ATTEMPTS {
            let quiet = p99_beside(&broker, &other, &authority);
            let flooded = p99_beside(&broker, &broker, &authority);
            eprintln!("{peer:?}: p99 {flooded:?} beside a flood, {quiet:?} without");
            if flooded <= 3 * quiet {
                return;
            }
            seen.push((quiet, flooded));
        }
        panic!("more than three times as slow: {seen:?}");
    });
}
