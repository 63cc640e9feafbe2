//! MPUB: its body size is not believed, and it takes all messages or none.

use std::time::Duration;

use super::case::State::Init;
use super::case::{Case, Then, check_all};
use crate::harness::{Broker, Client, bytes, eventually, mpub, on_each_peer};

/// The body size is range-checked only: the next command begins behind the last message.
#[test]
fn lying_body_size() {
    let inner = "<0000000200000001>a<00000002>bb";
    let lies: Vec<String> = ["00000001", "00000005", "0000000e", "00000010", "00500000"]
        .iter()
        .map(|size| format!("MPUB lies\n<{size}>{inner}"))
        .collect();
    let twice = format!("{0}{0}", lies[0]);
    let mut cases: Vec<Case<'_>> = lies
        .iter()
        .map(|send| Case { state: Init, send, replies: &["OK"], then: Then::Open })
        .collect();
    cases.push(Case { state: Init, send: &twice, replies: &["OK", "OK"], then: Then::Open });
    check_all(&cases);
}

/// The bodies behind a lying size are the published ones.
#[test]
fn bodies_behind_a_lying_size() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        client.send(&bytes("MPUB lies\n<00000001><0000000200000001>a<00000002>bb"));
        client.ok();
        client.send(&mpub("lies", &[b"c", b"PUB x\n", &[0, 255, b'\n']]));
        client.ok();
        assert_eq!(broker.topic("lies")["message_count"], 5);
        assert_eq!(broker.topic("lies")["message_bytes"], 13);
        let mut consumer = Client::consumer(&broker, "lies", "c", 5);
        let mut bodies: Vec<Vec<u8>> = (0..5).map(|_| consumer.message().body).collect();
        bodies.sort();
        let mut wanted: [&[u8]; 5] = [b"a", b"bb", b"c", b"PUB x\n", &[0, 255, b'\n']];
        wanted.sort();
        assert_eq!(bodies, wanted);
    });
}

/// A failing MPUB queues nothing, but its topic is there.
#[test]
fn all_or_nothing() {
    let failing = [
        ("zero", "<000000100000000300000001>a<00000001>b<00000000>"),
        ("too-big", "<000000100000000300000001>a<00000001>b<00100001>"),
        ("count", "<0000000400000000>"),
        ("size", "<00000000>"),
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (topic, body) in failing {
            let mut client = Client::new(&broker);
            client.send(&bytes(&format!("MPUB {topic}\n{body}")));
            assert!(client.frame().describe().starts_with("error: E_BAD_"), "{topic}");
            client.closed();
            let stats = broker.topic(topic);
            assert_eq!(stats["topic_name"], topic);
            assert_eq!((&stats["message_count"], &stats["depth"]), (&0.into(), &0.into()));
        }
        let mut cut = Client::new(&broker);
        cut.send(&bytes("MPUB cut\n<000000100000000300000001>a<00000001>b<00000001>"));
        cut.half_close();
        cut.expect("error: E_BAD_MESSAGE MPUB failed to read message body");
        assert_eq!(broker.topic("cut")["message_count"], 0);
    });
}

/// PUB, DPUB and a bad name create no topic; only MPUB is hasty.
#[test]
fn failing_single_publishes_create_nothing() {
    let failing =
        ["PUB none\n<00000000>", "DPUB none 1\n<00100001>", "DPUB none x\n", "SUB none c!\n"];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for send in failing {
            let mut client = Client::new(&broker);
            client.send(&bytes(send));
            assert!(client.frame().describe().starts_with("error: E_"), "{send:?}");
            client.closed();
            assert!(broker.topic("none").is_null(), "{send:?} created the topic");
        }
    });
}

/// Each message of a batch has its own id, rising in order; the topic has them in order.
#[test]
fn ids_rise() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let bodies: Vec<Vec<u8>> = (0..2000).map(|n| format!("{n:04}").into_bytes()).collect();
        let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        client.send(&mpub("rising", &slices));
        client.ok();
        let mut consumer = Client::consumer(&broker, "rising", "c", 2000);
        let messages: Vec<_> = (0..2000).map(|_| consumer.message()).collect();
        for (message, body) in messages.iter().zip(&bodies) {
            assert_eq!(&message.body, body);
            assert!(message.id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
        }
        let rises = messages
            .windows(2)
            .all(|pair| pair[0].id < pair[1].id && pair[0].timestamp <= pair[1].timestamp);
        assert!(rises);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_nanos() as i64 - messages[0].timestamp;
        assert!((0..60_000_000_000).contains(&age), "the timestamp is {age} ns old");
    });
}

/// The largest message and the largest batch that are allowed, byte for byte.
#[test]
fn largest_bodies() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let large: Vec<u8> = (0..1_048_576_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        client.publish("large", &large);
        let part = &large[..1_048_576 - 8];
        let batch = mpub("large", &[part, part, part, part, part]);
        assert!(batch.len() < 5_242_880 + 16);
        client.send(&batch);
        client.ok();
        let mut consumer = Client::consumer(&broker, "large", "c", 2);
        for count in 0..6 {
            let message = consumer.message_within(Duration::from_secs(30));
            let wanted = if count == 0 { &large[..] } else { part };
            assert!(message.body == wanted, "message {count} differs");
            consumer.fin(&message.id);
        }
        eventually("all finished", Duration::from_secs(10), || {
            broker.channel("large", "c")["clients"][0]["finish_count"] == 6
        });
    });
}
