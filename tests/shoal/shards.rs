//! Connections and topics that live on different shards look like one broker.

use crate::harness::{Broker, Client, Frame, bytes, mpub, on_each_peer, publish};

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
