//! Connections and topics that live on different shards look like one broker.

use crate::harness::{Broker, Client, Frame, bytes, identify, mpub, on_each_peer, publish};

/// One connection publishes to a thousand topics without waiting; the answers come in order.
#[test]
fn a_thousand_topics_on_one_connection() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let mut all = Vec::new();
        for round in 0..3 {
            for number in 0..1000 {
                let topic = format!("many-{number}");
                all.extend(publish(&topic, format!("{round}").as_bytes()));
                if number % 100 == 0 {
                    all.extend(mpub(&topic, &[b"a", b"b"]));
                }
            }
        }
        all.extend(bytes("PUB a$b\n"));
        client.try_send(&all);
        for _ in 0..3030 {
            client.ok();
        }
        client.expect("error: E_BAD_TOPIC PUB topic name \"a$b\" is not valid");
        client.closed();
        let stats = broker.request("GET", "/stats?format=json&include_mem=0", b"").json();
        let topics = stats["topics"].as_array().unwrap();
        assert_eq!(topics.len(), 1000);
        for topic in topics {
            let name = topic["topic_name"].as_str().unwrap();
            let number: usize = name.strip_prefix("many-").unwrap().parse().unwrap();
            let wanted = if number.is_multiple_of(100) { 9 } else { 3 };
            assert_eq!(topic["message_count"], wanted, "{name}");
        }
    });
}

/// What may stand behind publishes to many topics, and the error that ends the connection.
const LAST: [(&str, &str); 6] = [
    ("PUB a$b\n", "E_BAD_TOPIC PUB topic name \"a$b\" is not valid"),
    ("PUB many-1\n<00000000>", "E_BAD_MESSAGE PUB invalid message body size 0"),
    ("MPUB many-2\n<0000000500000001>x", "E_BAD_MESSAGE MPUB failed to read message(0) body size"),
    ("DPUB many-3 x\n", "E_INVALID DPUB could not parse timeout x"),
    ("RDY 1\n", "E_INVALID cannot RDY in current state"),
    ("BOGUS\n", "E_INVALID invalid command BOGUS"),
];

/// Whatever ends the connection, the answers to everything before it come first.
#[test]
fn errors_come_behind_all_answers() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (last, error) in LAST {
            let mut client = Client::new(&broker);
            let mut all = Vec::new();
            for number in 0..1000 {
                all.extend(publish(&format!("many-{number}"), b"x"));
            }
            all.extend(bytes(last));
            client.send(&all);
            client.half_close();
            for _ in 0..1000 {
                client.ok();
            }
            client.expect(&format!("error: {error}"));
            client.closed();
        }
        for number in [0, 1, 2, 3, 999] {
            let count = LAST.len();
            assert_eq!(broker.topic(&format!("many-{number}"))["message_count"], count);
        }
    });
}

/// A producer that turns to topics of another shard for good: its replies stay in the order of its
/// commands, wherever it is.
#[test]
fn replies_in_order_while_it_moves() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let mut all = Vec::new();
        // Of four topics some are on each shard; each has its time, long enough to move there.
        for number in 0..800 {
            all.extend(publish(&format!("turn-{}", number / 200), number.to_string().as_bytes()));
            let json = format!(r#"{{"feature_negotiation":true,"msg_timeout":{}}}"#, 1000 + number);
            all.extend(identify(&json));
        }
        client.send(&all);
        for number in 0..800 {
            client.ok();
            let reply = client.frame().describe();
            let wanted = format!(r#""msg_timeout":{},"#, 1000 + number);
            assert!(reply.contains(&wanted), "{number}: {reply}");
        }
        for topic in 0..4 {
            let mut consumer = Client::consumer(&broker, &format!("turn-{topic}"), "c", 200);
            for number in topic * 200..(topic + 1) * 200 {
                assert_eq!(consumer.message().text(), number.to_string());
            }
        }
        let stats = broker.request("GET", "/stats?format=json", b"").json();
        assert_eq!(stats["producers"].as_array().map(Vec::len), Some(1));
    });
}

/// Per topic the order of one producer is kept, whichever shards the topics are on.
#[test]
fn order_per_topic() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let mut all = Vec::new();
        for number in 0..200 {
            for topic in 0..10 {
                all.extend(publish(&format!("o{topic}"), format!("{number:03}").as_bytes()));
            }
        }
        client.send(&all);
        for _ in 0..2000 {
            client.ok();
        }
        for topic in 0..10 {
            let mut consumer = Client::consumer(&broker, &format!("o{topic}"), "c", 200);
            for number in 0..200 {
                assert_eq!(consumer.message().text(), format!("{number:03}"));
            }
        }
    });
}

/// SUB, RDY and more in one segment: nothing that comes behind SUB is lost when it moves.
#[test]
fn subscription_in_one_segment() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for number in 0..40 {
            let topic = format!("segment-{number}");
            Client::new(&broker).publish(&topic, b"waiting");
            let mut client = Client::bare(broker.tcp);
            let mut all = bytes("  V2IDENTIFY\n<00000002>{}");
            all.extend(format!("SUB {topic} c\nRDY 1\nNOP\n").into_bytes());
            all.extend(publish("elsewhere", b"x"));
            all.extend(bytes("NOP\nPUB half"));
            client.send(&all);
            let (mut answers, mut messages) = (0, 0);
            while answers < 3 || messages < 1 {
                match client.frame() {
                    Frame::Message(message) => {
                        assert_eq!(message.text(), "waiting");
                        messages += 1;
                        assert!(answers >= 2, "delivered before SUB was answered");
                    }
                    frame => {
                        assert_eq!(frame.describe(), "OK");
                        answers += 1;
                    }
                }
            }
            client.send(&bytes("-line\n<00000001>x"));
            client.ok();
        }
        assert_eq!(broker.topic("elsewhere")["message_count"], 40);
        assert_eq!(broker.topic("half-line")["message_count"], 40);
    });
}

/// A producer that goes from topic to topic, waiting each time, and then becomes a consumer.
#[test]
fn wandering_producer() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        for round in 0..20 {
            for topic in 0..20 {
                let times = if round % 2 == 0 { 1 } else { 5 };
                for _ in 0..times {
                    client.publish(&format!("w{topic}"), b"x");
                }
            }
        }
        client.subscribe("w7", "c");
        client.command("RDY 100");
        for _ in 0..60 {
            let id = client.message().id;
            client.fin(&id);
        }
        broker.await_channel("w7", "c", "in_flight_count", 0);
        for topic in 0..20 {
            assert_eq!(broker.topic(&format!("w{topic}"))["message_count"], 60);
        }
        assert_eq!(broker.channel("w7", "c")["clients"][0]["finish_count"], 60);
    });
}

/// Bodies that come in pieces while their connection already publishes elsewhere.
#[test]
fn large_bodies_to_many_topics() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let large = vec![b'x'; 300_000];
        for number in 0..12 {
            let mut all = publish(&format!("large-{}", number % 4), &large);
            all.extend(publish("small", b"x"));
            client.send(&all);
        }
        for _ in 0..24 {
            client.ok();
        }
        for number in 0..4 {
            let stats = broker.topic(&format!("large-{number}"));
            assert_eq!(stats["message_bytes"], 900_000);
        }
    });
}
