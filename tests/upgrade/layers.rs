//! Every combination of layers carries messages of every size both ways, from a shard to another.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, Frame, Message, on_each_peer, publish};

fn open(broker: &Broker, kind: Kind, config: &Arc<ClientConfig>) -> Secure {
    Secure::open(broker.tcp, kind, config).unwrap_or_else(|problem| panic!("{kind:?}: {problem}"))
}

/// Bodies from a byte to the largest there may be; some shrink, some do not.
fn bodies() -> Vec<Vec<u8>> {
    let mut noise = 0x9e37_79b9_u32;
    let mut all = Vec::new();
    for size in [1, 1000, 65_000, 65_536, 70_000, 1 << 20] {
        let noisy = (0..size).map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            (noise >> 24) as u8
        });
        all.push(noisy.collect());
        all.push(b"{\"key\":\"value\"}".iter().copied().cycle().take(size).collect());
    }
    all
}

fn message(client: &mut Secure) -> Message {
    match client.frame() {
        Ok(Frame::Message(message)) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

#[test]
fn bodies_of_all_sizes_come_through_all_layers() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &["--max-msg-size=1048576"]);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            // With two shards some of these topics are on either.
            let topic = format!("layers{number}");
            let mut consumer = open(&broker, kind, &config);
            consumer.send(format!("SUB {topic} c\n").as_bytes());
            consumer.ok().unwrap();
            consumer.send(b"RDY 1\n");
            let mut producer = open(&broker, kind, &config);
            for body in bodies() {
                producer.send(&publish(&topic, &body));
                producer.ok().unwrap();
                let message = message(&mut consumer);
                assert!(message.body == body, "{kind:?}: {} bytes", body.len());
                consumer.send(format!("FIN {}\n", message.id).as_bytes());
            }
        }
    });
}

/// Many small commands in one flush, and commands that are cut by flushes.
#[test]
fn flushes_need_not_be_commands() {
    let authority = Authority::new();
    let config = authority.client(None, false);
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            let topic = format!("flushes{number}");
            let mut client = open(&broker, kind, &config);
            let many: Vec<u8> = (0..500).flat_map(|_| publish(&topic, b"small")).collect();
            client.send(&many);
            for piece in publish(&topic, &[b'x'; 100]).chunks(3) {
                client.send(piece);
            }
            for answer in 0..501 {
                assert_eq!(client.ok(), Ok(()), "{kind:?} {answer}");
            }
            assert_eq!(broker.topic(&topic)["message_count"], 501);
        }
    });
}

/// A producer whose topics are on both shards is moved about; heartbeats come through as well.
#[test]
fn layers_move_with_their_connection() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        for kind in Kind::ALL {
            let mut client = open(&broker, kind, &config);
            for round in 0..6 {
                let topic = format!("moves{round}");
                let many: Vec<u8> = (0..100).flat_map(|_| publish(&topic, b"small")).collect();
                client.send(&many);
                for answer in 0..100 {
                    assert_eq!(client.ok(), Ok(()), "{kind:?} {round} {answer}");
                }
            }
        }
    });
}

/// A consumer that does not read for a while gets everything afterwards.
#[test]
fn a_slow_reader_gets_everything() {
    let authority = Authority::new();
    let config = authority.client(None, true);
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            let topic = format!("slow{number}");
            let mut producer = open(&broker, Kind::default(), &config);
            let bodies: Vec<_> = bodies().into_iter().filter(|body| body.len() > 200_000).collect();
            for body in bodies.iter().cycle().take(12) {
                producer.send(&publish(&topic, body));
                producer.ok().unwrap();
            }
            let mut consumer = open(&broker, kind, &config);
            consumer.send(format!("SUB {topic} c\nRDY 100\n").as_bytes());
            consumer.ok().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(300));
            let mut total = 0;
            for _ in 0..12 {
                let message = message(&mut consumer);
                total += message.body.len();
                assert!(bodies.contains(&message.body), "{kind:?}");
                consumer.send(format!("FIN {}\n", message.id).as_bytes());
            }
            assert_eq!(total, bodies.iter().cycle().take(12).map(Vec::len).sum::<usize>());
        }
    });
}
