//! `--enable-experiment=topology-aware-consumption`: the nearest consumer that can take a message
//! gets it, and it is counted how near that was.

use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Broker, Client, Peer, identify, on_each_peer};

const MESSAGES: u64 = 20;
const COUNTS: [&str; 3] = ["zone_local_msg_count", "region_local_msg_count", "global_msg_count"];

/// A consumer that says where it is.
fn consumer(broker: &Broker, zone: &str, region: &str) -> Client {
    let mut client = Client::new(broker);
    let json = format!("{{\"topology_zone\":\"{zone}\",\"topology_region\":\"{region}\"}}");
    client.send(&identify(&json));
    client.ok();
    client.subscribe("t", "c");
    client.command("RDY 5");
    client
}

/// Publishes one after the other; all have to come to `client`.
fn all_come_to(broker: &Broker, client: &mut Client) {
    for number in 0..MESSAGES {
        // The original offers a message to who is idle at that moment.
        sleep(Duration::from_millis(20));
        Client::new(broker).publish("t", number.to_string().as_bytes());
        let id = client.delivery(&number.to_string(), 1);
        client.fin(&id);
    }
}

fn counts(broker: &Broker) -> [u64; 3] {
    let channel = broker.channel("t", "c");
    COUNTS.map(|name| channel[name].as_u64().unwrap_or(0))
}

fn leave(client: Client, broker: &Broker, left: i64) {
    drop(client);
    broker.await_channel("t", "c", "client_count", left);
}

fn start(peer: Peer, more: &[&str]) -> Broker {
    let place = ["--topology-zone=z", "--topology-region=r"];
    Broker::start(peer, &[&place, more].concat())
}

#[test]
fn the_nearest_consumer_is_preferred() {
    on_each_peer(|peer| {
        let broker = start(peer, &["--enable-experiment=topology-aware-consumption"]);
        let mut anywhere = consumer(&broker, "other", "other");
        let mut region = consumer(&broker, "other", "r");
        // The same zone is near, whatever region it says it is in.
        let mut zone = consumer(&broker, "z", "other");
        all_come_to(&broker, &mut zone);
        assert_eq!(counts(&broker), [MESSAGES, 0, 0]);
        leave(zone, &broker, 2);
        all_come_to(&broker, &mut region);
        assert_eq!(counts(&broker), [MESSAGES, MESSAGES, 0]);
        leave(region, &broker, 1);
        all_come_to(&broker, &mut anywhere);
        assert_eq!(counts(&broker), [MESSAGES; 3]);
        let keys = broker.channel("t", "c");
        let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
        let at = keys.iter().position(|key| *key == "message_count").unwrap();
        assert_eq!(keys[at + 1..at + 4], COUNTS);
    });
}

/// Who is near and can take no more is no reason to wait.
#[test]
fn others_get_what_the_nearest_cannot_take() {
    on_each_peer(|peer| {
        let broker = start(peer, &["--enable-experiment=topology-aware-consumption"]);
        let mut zone = consumer(&broker, "z", "r");
        let mut anywhere = consumer(&broker, "", "");
        for number in 0..8 {
            sleep(Duration::from_millis(20));
            Client::new(&broker).publish("t", number.to_string().as_bytes());
            let taker = if number < 5 { &mut zone } else { &mut anywhere };
            taker.delivery(&number.to_string(), 1);
        }
        assert_eq!(counts(&broker), [5, 0, 3]);
    });
}

#[test]
fn without_the_experiment_nobody_is_near() {
    on_each_peer(|peer| {
        let broker = start(peer, &["--enable-experiment=something-else"]);
        let mut zone = consumer(&broker, "z", "r");
        all_come_to(&broker, &mut zone);
        assert_eq!(counts(&broker), [0, 0, MESSAGES]);
    });
}

/// What comes again is counted again, and what a sample leaves out is counted, too.
#[test]
fn what_is_counted() {
    on_each_peer(|peer| {
        let broker = start(peer, &["--enable-experiment=topology-aware-consumption"]);
        let mut zone = consumer(&broker, "z", "r");
        zone.publish("t", b"x");
        for attempt in 1..=3 {
            let id = zone.delivery("x", attempt);
            zone.req(&id, 0);
        }
        zone.delivery("x", 4);
        assert_eq!(counts(&broker), [4, 0, 0]);
        let mut sampler = Client::new(&broker);
        sampler.send(&identify("{\"sample_rate\":1}"));
        sampler.ok();
        sampler.subscribe("sampled", "c");
        sampler.command("RDY 2500");
        let mut producer = Client::new(&broker);
        for _ in 0..200 {
            producer.publish("sampled", b"x");
        }
        broker.await_channel("sampled", "c", "depth", 0);
        assert_eq!(broker.channel("sampled", "c")["global_msg_count"], 200);
    });
}
