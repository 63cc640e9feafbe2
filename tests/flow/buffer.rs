//! Output buffers: sizes and times that a client may ask for, and how long a message may wait.

use std::time::{Duration, Instant};

use super::publish_numbers;
use crate::harness::{Broker, Client, SOON, identify, on_each_peer, on_each_shoal, show};

/// `output_buffer_size` and `output_buffer_timeout`.
const SETTINGS: [(i32, i32); 7] =
    [(0, 0), (64, 25), (65_536, 25), (65_536, 1000), (-1, 0), (-1, -1), (64, -1)];

/// Whatever the buffer, a full window comes whole, in order, and with large bodies too.
#[test]
fn every_size() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let large: Vec<u8> = (0..200_000_u32).map(|n| (n * 31) as u8).collect();
        for (number, (size, timeout)) in SETTINGS.into_iter().enumerate() {
            let topic = format!("buffer-{number}");
            publish_numbers(&broker, &topic, 40);
            Client::new(&broker).publish(&topic, &large);
            let mut client = Client::new(&broker);
            client.send(&identify(&format!(
                "{{\"output_buffer_size\":{size},\"output_buffer_timeout\":{timeout}}}"
            )));
            client.ok();
            client.subscribe(&topic, "c");
            client.command("RDY 41");
            for wanted in 0..40 {
                assert_eq!(client.message().text(), wanted.to_string(), "{size} {timeout}");
            }
            let body = client.message().body;
            assert!(body == large, "{size} {timeout}: {:?}", show(&body[..20]));
        }
    });
}

/// A lone message to a wide window waits at most for the client's output buffer timeout.
#[test]
fn lone_message() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        client.send(&identify("{\"output_buffer_timeout\":1000}"));
        client.ok();
        client.subscribe("lone", "c");
        client.command("RDY 100");
        for number in 0..3 {
            let start = Instant::now();
            publish_numbers(&broker, "lone", 1);
            client.message_within(SOON);
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(3), "message {number} after {waited:?}");
        }
    });
}

/// Shoal holds nothing back: a message leaves with the turn in which it came.
#[test]
fn nothing_is_held_back() {
    on_each_shoal("the original holds messages for up to 250 ms", |peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::consumer(&broker, "prompt", "c", 2500);
        let mut producer = Client::new(&broker);
        let mut waits: Vec<Duration> = (0..40)
            .map(|_| {
                let start = Instant::now();
                producer.publish("prompt", b"x");
                client.message();
                start.elapsed()
            })
            .collect();
        waits.sort();
        assert!(waits[20] < Duration::from_millis(40), "half of them waited {:?}", waits[20]);
    });
}
