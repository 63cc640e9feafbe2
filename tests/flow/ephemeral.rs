//! `#ephemeral` channels and topics: when they go, and what they forget.

use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, Peer, SOON, TempDir, eventually, on_each_peer};

fn gone(broker: &Broker, topic: &str) {
    eventually(&format!("{topic} is gone"), SOON, || broker.topic(topic).is_null());
}

/// The channel goes with its last consumer, with everything in it.
#[test]
fn channel_life() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut first = Client::consumer(&broker, "t", "e#ephemeral", 1);
        let mut second = Client::consumer(&broker, "t", "e#ephemeral", 0);
        publish_numbers(&broker, "t", 3);
        first.message();
        drop(first);
        broker.await_channel("t", "e#ephemeral", "client_count", 1);
        broker.await_channel("t", "e#ephemeral", "depth", 2);
        second.command("CLS");
        second.expect("CLOSE_WAIT");
        assert_eq!(broker.channel("t", "e#ephemeral")["client_count"], 1);
        drop(second);
        eventually("the channel is gone", SOON, || broker.channel("t", "e#ephemeral").is_null());
        assert_eq!(broker.topic("t")["topic_name"], "t");
        let mut again = Client::consumer(&broker, "t", "e#ephemeral", 5);
        again.silent(Duration::from_millis(500));
        publish_numbers(&broker, "t", 1);
        again.delivery("0", 1);
    });
}

/// The topic goes with its last channel, of whichever kind; without any it stays.
#[test]
fn topic_life() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        publish_numbers(&broker, "never#ephemeral", 1);
        let client = Client::consumer(&broker, "sub#ephemeral", "e#ephemeral", 0);
        drop(client);
        gone(&broker, "sub#ephemeral");
        let client = Client::consumer(&broker, "two#ephemeral", "e#ephemeral", 0);
        broker.post("/channel/create?topic=two%23ephemeral&channel=stays");
        drop(client);
        eventually("one channel is left", SOON, || {
            broker.topic("two#ephemeral")["channels"].as_array().map(Vec::len) == Some(1)
        });
        broker.post("/channel/delete?topic=two%23ephemeral&channel=stays");
        gone(&broker, "two#ephemeral");
        assert_eq!(broker.topic("never#ephemeral")["depth"], 1);
    });
}

/// A channel made over HTTP stays until a consumer has come and gone.
#[test]
fn made_over_http() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=e%23ephemeral");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(broker.channel("t", "e#ephemeral")["client_count"], 0);
        let client = Client::consumer(&broker, "t", "e#ephemeral", 0);
        drop(client);
        eventually("the channel is gone", SOON, || broker.channel("t", "e#ephemeral").is_null());
    });
}

/// Full memory drops messages; the publisher is not told, but the count goes on.
#[test]
fn full() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--mem-queue-size=10"]);
        publish_numbers(&broker, "full#ephemeral", 100);
        let stats = broker.topic("full#ephemeral");
        assert_eq!((&stats["depth"], &stats["message_count"]), (&10.into(), &100.into()));
        assert_eq!(stats["backend_depth"], 0);
        let mut client = Client::consumer(&broker, "t", "full#ephemeral", 0);
        publish_numbers(&broker, "t", 100);
        broker.await_channel("t", "full#ephemeral", "message_count", 100);
        broker.await_channel("t", "full#ephemeral", "depth", 10);
        client.command("RDY 100");
        for _ in 0..10 {
            client.message();
        }
        client.silent(Duration::from_millis(500));
    });
}

/// The data path of a broker that had ephemeral topics and channels, and others.
fn stopped_with_ephemerals(peer: Peer) -> std::sync::Arc<TempDir> {
    let broker = Broker::start(peer, &[]);
    publish_numbers(&broker, "gone#ephemeral", 3);
    broker.post("/topic/create?topic=stays");
    broker.post("/channel/create?topic=stays&channel=gone%23ephemeral");
    broker.post("/channel/create?topic=stays&channel=c");
    broker.stop()
}

/// Neither survives a restart.
#[test]
fn forgotten_at_a_restart() {
    on_each_peer(|peer| {
        let broker = Broker::start_in(peer, &[], stopped_with_ephemerals(peer));
        assert!(broker.topic("gone#ephemeral").is_null());
        assert!(broker.channel("stays", "gone#ephemeral").is_null());
    });
}

/// Neither is in the metadata file.
#[test]
fn not_in_the_metadata() {
    on_each_peer(|peer| {
        let dir = stopped_with_ephemerals(peer);
        let metadata = std::fs::read_to_string(dir.path().join("nsqd.dat")).unwrap();
        let wanted = concat!(
            r#"{"topics":[{"name":"stays","paused":false,"channels":["#,
            r#"{"name":"c","paused":false}]}],"version":"1.3.0"}"#,
        );
        assert_eq!(metadata, wanted);
    });
}

/// What lies beside them stays.
#[test]
fn forgotten_alone() {
    on_each_peer(|peer| {
        let broker = Broker::start_in(peer, &[], stopped_with_ephemerals(peer));
        assert_eq!(broker.channel("stays", "c")["depth"], 0);
    });
}
