//! RDY is a window: so many messages may be in flight, and each FIN makes room for one.

use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, at_once, on_each_peer};

const QUIET: Duration = Duration::from_millis(700);

fn receive(client: &mut Client, count: usize) -> Vec<String> {
    let ids = (0..count).map(|_| client.message().id).collect();
    client.silent(QUIET);
    ids
}

fn window(broker: &Broker) {
    publish_numbers(broker, "window", 20);
    let mut client = Client::consumer(broker, "window", "c", 3);
    let ids = receive(&mut client, 3);
    client.fin(&ids[1]);
    let more = receive(&mut client, 1);
    client.fin(&ids[0]);
    client.fin(&ids[2]);
    client.req(&more[0], 0);
    receive(&mut client, 3);
    let stats = broker.channel("window", "c");
    assert_eq!((&stats["in_flight_count"], &stats["depth"]), (&3.into(), &14.into()));
    assert_eq!(stats["clients"][0]["ready_count"], 3);
}

fn lowering(broker: &Broker) {
    publish_numbers(broker, "lower", 20);
    let mut client = Client::consumer(broker, "lower", "c", 3);
    let ids = receive(&mut client, 3);
    client.command("RDY 1");
    client.fin(&ids[0]);
    client.fin(&ids[1]);
    client.silent(QUIET);
    client.fin(&ids[2]);
    let ids = receive(&mut client, 1);
    client.command("RDY 0");
    client.fin(&ids[0]);
    client.silent(QUIET);
    client.command("RDY 2");
    receive(&mut client, 2);
}

/// A failed FIN, and a TOUCH, make no room.
fn no_room_from_failures(broker: &Broker) {
    publish_numbers(broker, "room", 5);
    let mut client = Client::consumer(broker, "room", "c", 1);
    let ids = receive(&mut client, 1);
    client.touch(&ids[0]);
    client.fin("0123456789abcdef");
    client.expect("error: E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight");
    client.silent(QUIET);
    client.fin(&ids[0]);
    receive(&mut client, 1);
}

/// Without RDY nothing comes, and the largest window is allowed.
fn from_nothing_to_all(broker: &Broker) {
    publish_numbers(broker, "largest", 2600);
    let mut client = Client::new(broker);
    client.subscribe("largest", "c");
    client.silent(QUIET);
    client.command("RDY 2500");
    let ids = receive(&mut client, 2500);
    for id in &ids {
        client.fin(id);
    }
    receive(&mut client, 100);
    broker.await_channel("largest", "c", "in_flight_count", 100);
}

/// With one message at a time there is no waiting for a buffer to fill.
fn one_at_a_time_is_prompt(broker: &Broker) {
    publish_numbers(broker, "prompt", 50);
    let mut client = Client::consumer(broker, "prompt", "c", 1);
    let start = std::time::Instant::now();
    for number in 0..50 {
        let id = client.delivery(&number.to_string(), 1);
        client.fin(&id);
    }
    // 50 times the output buffer's 250 ms would be more than twelve seconds.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn ready() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        at_once(&[
            &|| window(&broker),
            &|| lowering(&broker),
            &|| no_room_from_failures(&broker),
            &|| from_nothing_to_all(&broker),
            &|| one_at_a_time_is_prompt(&broker),
        ]);
    });
}
