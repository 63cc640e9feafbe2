//! CLS: no more messages, but what is in flight may be finished, and the client closes.

use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, eventually, on_each_peer, publish};

#[test]
fn close() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        publish_numbers(&broker, "closing", 6);
        let mut client = Client::consumer(&broker, "closing", "c", 3);
        let ids: Vec<String> = (0..3).map(|_| client.message().id).collect();
        client.command("CLS");
        client.expect("CLOSE_WAIT");
        let stats = broker.channel("closing", "c")["clients"][0].clone();
        assert_eq!((&stats["state"], &stats["ready_count"]), (&4.into(), &0.into()));
        client.command("RDY 3");
        client.fin(&ids[0]);
        client.touch(&ids[1]);
        client.req(&ids[1], 0);
        client.silent(Duration::from_millis(500));
        client.publish("closing", b"while closing");
        client.fin(&ids[2]);
        client.fin(&ids[2]);
        client.expect(&format!("error: E_FIN_FAILED FIN {} failed ID not in flight", ids[2]));
        broker.await_channel("closing", "c", "in_flight_count", 0);
        let mut other = Client::consumer(&broker, "closing", "c", 10);
        let mut bodies: Vec<String> = (0..5).map(|_| other.message().text().to_string()).collect();
        bodies.sort();
        assert_eq!(bodies, ["1", "3", "4", "5", "while closing"]);
        client.silent(Duration::from_millis(300));
        client.alive();
        drop(client);
        broker.await_channel("closing", "c", "client_count", 1);
    });
}

/// A subscribed connection may publish, to its own topic too; replies and messages keep order.
#[test]
fn publish_while_subscribed() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::consumer(&broker, "both", "c", 200);
        let mut sent = Vec::new();
        for number in 0..100 {
            sent.extend(publish("both", number.to_string().as_bytes()));
            sent.extend(publish("both-elsewhere", b"x"));
        }
        client.send(&sent);
        let (mut replies, mut next) = (0, 0);
        while replies < 200 || next < 100 {
            match client.frame() {
                crate::harness::Frame::Message(message) => {
                    assert_eq!(message.text(), next.to_string());
                    next += 1;
                    client.fin(&message.id);
                }
                frame => {
                    assert_eq!(frame.describe(), "OK");
                    replies += 1;
                }
            }
        }
        eventually("all finished", Duration::from_secs(10), || {
            broker.channel("both", "c")["clients"][0]["finish_count"] == 100
        });
        assert_eq!(broker.topic("both-elsewhere")["message_count"], 100);
        assert_eq!(broker.channel("both", "c")["in_flight_count"], 0);
    });
}
