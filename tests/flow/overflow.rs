//! More messages than `--mem-queue-size`: none lost, none twice.

use std::collections::BTreeSet;
use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, on_each_peer};

fn receive_all(client: &mut Client, count: usize) {
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let message = client.message();
        assert!(seen.insert(message.text().to_string()), "twice: {}", message.text());
        client.fin(&message.id);
    }
    client.silent(Duration::from_millis(300));
}

#[test]
fn beyond_memory() {
    on_each_peer(|peer| {
        for size in ["--mem-queue-size=0", "--mem-queue-size=10"] {
            let broker = Broker::start(peer, &[size]);
            publish_numbers(&broker, "t", 3000);
            assert_eq!(broker.topic("t")["depth"], 3000);
            let mut client = Client::consumer(&broker, "t", "c", 100);
            receive_all(&mut client, 3000);
            client.command("RDY 0");
            client.alive();
            // One message may still be on its way to a consumer that has just said RDY 0.
            client.silent(Duration::from_millis(300));
            publish_numbers(&broker, "t", 500);
            broker.await_channel("t", "c", "depth", 500);
            broker.await_channel("t", "c", "in_flight_count", 0);
            client.command("RDY 50");
            receive_all(&mut client, 500);
            broker.await_channel("t", "c", "depth", 0);
        }
    });
}
