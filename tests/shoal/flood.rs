//! Clients that send and never read: the broker's memory stays bounded, and others are served.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, eventually, on_each_shoal, publish, rss_bytes};

/// What one rude client may cost at most, beside the broker's own buffers.
const ALLOWED: u64 = 64 << 20;
const REASON: &str = "its buffers are not the measure";

/// Sends `piece` over and over until the broker stops reading, or `most` bytes are out.
fn flood(client: &mut Client, piece: &[u8], most: usize) -> usize {
    let stream = client.stream();
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let start = Instant::now();
    let mut sent = 0;
    while sent < most && start.elapsed() < Duration::from_secs(10) {
        match stream.write(piece) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    sent
}

fn check(name: &str, prepare: impl Fn(&mut Client) + Sync, piece: &[u8]) {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        let mut other = Client::consumer(&broker, "other", "c", 1);
        let mut rude = Client::new(&broker);
        prepare(&mut rude);
        let before = rss_bytes(broker.pid());
        let sent = flood(&mut rude, piece, 48 << 20);
        let grown = rss_bytes(broker.pid()).saturating_sub(before);
        assert!(grown < ALLOWED, "{name}: {grown} bytes more after {sent} were sent");
        other.publish("other", b"x");
        let id = other.delivery("x", 1);
        other.fin(&id);
        drop(rude);
        eventually("memory is back", Duration::from_secs(10), || {
            rss_bytes(broker.pid()).saturating_sub(before) < ALLOWED / 2
        });
    });
}

/// Each command is answered by an error, and nobody reads them.
#[test]
fn unread_errors() {
    let piece = b"FIN 0123456789abcdef\n".repeat(1000);
    check("errors", |client| client.subscribe("flood", "c"), &piece);
}

/// Each command is answered by OK; the ephemeral topic keeps few of the messages.
#[test]
fn unread_answers() {
    let piece = publish("flood#ephemeral", b"x").repeat(1000);
    check("answers", |_| {}, &piece);
}

/// Commands without answers may come as fast as they like.
#[test]
fn endless_nops() {
    check("nops", |_| {}, &b"NOP\n".repeat(4000));
}

/// A batch that is announced, and trickles in without end.
#[test]
fn unfinished_bodies() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        let before = rss_bytes(broker.pid());
        let crowd: Vec<Client> = (0..500)
            .map(|_| {
                let mut client = Client::new(&broker);
                client.send(&crate::harness::bytes("MPUB t\n<00500000000fffff00000001>"));
                client
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        let grown = rss_bytes(broker.pid()).saturating_sub(before);
        assert!(grown < ALLOWED, "{grown} bytes for 500 announced batches");
        drop(crowd);
        Client::new(&broker).alive();
    });
}

/// A consumer that asks for everything and reads nothing holds up nobody else.
#[test]
fn consumer_that_does_not_read() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        let body = vec![b'x'; 100_000];
        let mut producer = Client::new(&broker);
        producer.subscribe("unread", "other");
        let _rude = Client::consumer(&broker, "unread", "c", 2500);
        let start = Instant::now();
        for _ in 0..500 {
            producer.publish("unread", &body);
        }
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        producer.command("RDY 10");
        for _ in 0..500 {
            let id = producer.message().id;
            producer.fin(&id);
        }
        let rss = rss_bytes(broker.pid());
        assert!(rss < 400 << 20, "{rss} bytes for 50 MB of messages");
    });
}
