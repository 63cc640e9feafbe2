//! Pausing a channel and a topic over HTTP, with consumers connected.

use std::time::Duration;

use super::{publish_numbers, with_timeout};
use crate::harness::{Broker, Client, Peer, at_once, on_each_peer};

const QUIET: Duration = Duration::from_millis(700);

/// Nothing is delivered, but what is in flight may be finished, and messages gather.
fn channel(broker: &Broker) {
    let mut client = Client::consumer(broker, "pc", "c", 5);
    publish_numbers(broker, "pc", 1);
    let id = client.delivery("0", 1);
    broker.post("/channel/pause?topic=pc&channel=c");
    assert_eq!(broker.channel("pc", "c")["paused"], true);
    assert_eq!(broker.topic("pc")["paused"], false);
    publish_numbers(broker, "pc", 3);
    client.silent(QUIET);
    client.fin(&id);
    client.alive();
    broker.await_channel("pc", "c", "depth", 3);
    assert_eq!(broker.channel("pc", "c")["in_flight_count"], 0);
    broker.post("/channel/unpause?topic=pc&channel=c");
    for body in ["0", "1", "2"] {
        client.delivery(body, 1);
    }
    assert_eq!(broker.channel("pc", "c")["paused"], false);
}

/// Timeouts and REQ work while paused; their messages wait too.
fn channel_timeouts(broker: &Broker, peer: Peer) {
    let mut client = with_timeout(broker, 1000, "pt c", 5);
    publish_numbers(broker, "pt", 2);
    client.message();
    let given_back = client.message().id;
    broker.post("/channel/pause?topic=pt&channel=c");
    client.req(&given_back, 0);
    client.silent(Duration::from_secs(1) + peer.late());
    let stats = broker.channel("pt", "c");
    assert_eq!((&stats["timeout_count"], &stats["requeue_count"]), (&1.into(), &1.into()));
    assert_eq!((&stats["depth"], &stats["in_flight_count"]), (&2.into(), &0.into()));
    broker.post("/channel/unpause?topic=pt&channel=c");
    assert_eq!(client.message().attempts, 2);
    assert_eq!(client.message().attempts, 2);
}

/// Messages gather in the topic; channels go on with what they have.
fn topic(broker: &Broker) {
    let mut client = Client::consumer(broker, "pp", "c", 0);
    publish_numbers(broker, "pp", 2);
    broker.await_channel("pp", "c", "depth", 2);
    broker.post("/topic/pause?topic=pp");
    publish_numbers(broker, "pp", 3);
    client.command("RDY 10");
    for body in ["0", "1"] {
        client.delivery(body, 1);
    }
    client.silent(QUIET);
    let stats = broker.topic("pp");
    assert_eq!((&stats["paused"], &stats["depth"]), (&true.into(), &3.into()));
    assert_eq!(
        (&stats["message_count"], &stats["channels"][0]["message_count"]),
        (&5.into(), &2.into())
    );
    broker.post("/topic/unpause?topic=pp");
    for body in ["0", "1", "2"] {
        client.delivery(body, 1);
    }
    assert_eq!(broker.topic("pp")["depth"], 0);
}

/// A channel made while the topic is paused gets nothing before, and the backlog after.
fn new_channel_on_a_paused_topic(broker: &Broker) {
    broker.post("/topic/create?topic=pn");
    broker.post("/topic/pause?topic=pn");
    publish_numbers(broker, "pn", 2);
    let mut client = Client::consumer(broker, "pn", "c", 5);
    client.silent(QUIET);
    broker.post("/topic/unpause?topic=pn");
    client.delivery("0", 1);
    client.delivery("1", 1);
}

#[test]
fn pause() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        at_once(&[
            &|| channel(&broker),
            &|| channel_timeouts(&broker, peer),
            &|| topic(&broker),
            &|| new_channel_on_a_paused_topic(&broker),
        ]);
    });
}

/// What is paused stays so after a restart, and only that.
#[test]
fn pause_outlives_a_restart() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=p1");
        broker.post("/channel/create?topic=p1&channel=c1");
        broker.post("/channel/create?topic=p1&channel=c2");
        broker.post("/topic/create?topic=p2");
        broker.post("/channel/pause?topic=p1&channel=c1");
        broker.post("/topic/pause?topic=p2");
        let broker = Broker::start_in(peer, &[], broker.stop());
        assert_eq!(broker.topic("p1")["paused"], false);
        assert_eq!(broker.channel("p1", "c1")["paused"], true);
        assert_eq!(broker.channel("p1", "c2")["paused"], false);
        assert_eq!(broker.topic("p2")["paused"], true);
    });
}
