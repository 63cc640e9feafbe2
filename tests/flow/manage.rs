//! Emptying and deleting topics and channels while clients use them.

use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, Peer, SOON, eventually, on_each_peer};

/// An emptied channel has nothing: no depth, nothing in flight, nothing deferred.
#[test]
fn empty_channel() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::consumer(&broker, "t", "c", 2);
        let mut other = Client::consumer(&broker, "t", "other", 0);
        publish_numbers(&broker, "t", 10);
        Client::new(&broker).publish_deferred("t", 1000, b"later");
        let ids = [client.message().id, client.message().id];
        broker.await_channel("t", "c", "deferred_count", 1);
        broker.await_channel("t", "c", "depth", 8);
        broker.post("/channel/empty?topic=t&channel=c");
        let stats = broker.channel("t", "c");
        for field in ["depth", "in_flight_count", "deferred_count"] {
            assert_eq!(stats[field], 0, "{field}");
        }
        assert_eq!((&stats["message_count"], &stats["client_count"]), (&11.into(), &1.into()));
        assert_eq!(stats["clients"][0]["in_flight_count"], 0);
        for id in &ids {
            client.fin(id);
            client.expect(&format!("error: E_FIN_FAILED FIN {id} failed ID not in flight"));
        }
        // The window is free again, for what comes from now on.
        client.silent(Duration::from_millis(1500));
        client.publish("t", b"new");
        client.delivery("new", 1);
        other.command("RDY 20");
        for _ in 0..11 {
            other.message();
        }
    });
}

/// Emptying a topic leaves its channels alone.
#[test]
fn empty_topic() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        publish_numbers(&broker, "bare", 10);
        broker.post("/topic/empty?topic=bare");
        let stats = broker.topic("bare");
        assert_eq!((&stats["depth"], &stats["message_count"]), (&0.into(), &10.into()));
        let mut client = Client::consumer(&broker, "bare", "c", 5);
        client.silent(Duration::from_millis(300));
        client.publish("bare", b"new");
        client.delivery("new", 1);
        let mut kept = Client::consumer(&broker, "kept", "c", 0);
        publish_numbers(&broker, "kept", 3);
        broker.await_channel("kept", "c", "depth", 3);
        broker.post("/topic/empty?topic=kept");
        kept.command("RDY 5");
        for body in ["0", "1", "2"] {
            kept.delivery(body, 1);
        }
    });
}

/// Deleting a channel closes its consumers without a frame, and nobody else.
#[test]
fn delete_channel() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut gone =
            [Client::consumer(&broker, "t", "c", 1), Client::consumer(&broker, "t", "c", 0)];
        let mut stays = Client::consumer(&broker, "t", "d", 5);
        publish_numbers(&broker, "t", 3);
        gone[0].message();
        broker.post("/channel/delete?topic=t&channel=c");
        for client in &mut gone {
            client.closed();
        }
        assert!(broker.channel("t", "c").is_null());
        for body in ["0", "1", "2"] {
            stays.delivery(body, 1);
        }
        stays.alive();
        let reply = broker.request("POST", "/channel/delete?topic=t&channel=c", b"");
        assert_eq!((reply.status, reply.text()), (404, r#"{"message":"CHANNEL_NOT_FOUND"}"#));
        let mut again = Client::consumer(&broker, "t", "c", 5);
        again.silent(Duration::from_millis(300));
    });
}

/// Deleting a topic takes its channels with it; producers stay and may make it anew.
#[test]
fn delete_topic() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut producer = Client::new(&broker);
        let mut consumers =
            [Client::consumer(&broker, "t", "c", 1), Client::consumer(&broker, "t", "d", 0)];
        producer.publish("t", b"old");
        consumers[0].delivery("old", 1);
        broker.post("/topic/delete?topic=t");
        for client in &mut consumers {
            client.closed();
        }
        eventually("the topic is gone", SOON, || broker.topic("t").is_null());
        producer.publish("t", b"new");
        let stats = broker.topic("t");
        assert_eq!((&stats["message_count"], &stats["depth"]), (&1.into(), &1.into()));
        let mut consumer = Client::consumer(&broker, "t", "c", 5);
        consumer.delivery("new", 1);
        consumer.silent(Duration::from_millis(300));
    });
}

/// A broker that was started again after one of its two topics was deleted.
fn restarted_without_a_topic(peer: Peer) -> Broker {
    let broker = Broker::start(peer, &["--mem-queue-size=10"]);
    publish_numbers(&broker, "t", 200);
    broker.post("/channel/create?topic=t&channel=c");
    publish_numbers(&broker, "keeps", 1);
    broker.post("/topic/delete?topic=t");
    Broker::start_in(peer, &["--mem-queue-size=10"], broker.stop())
}

/// Nothing of a deleted topic comes back with a restart.
#[test]
fn deleted_stays_deleted() {
    on_each_peer(|peer| {
        let broker = restarted_without_a_topic(peer);
        assert!(broker.topic("t").is_null());
        publish_numbers(&broker, "t", 1);
        assert_eq!(broker.topic("t")["depth"], 1);
    });
}

/// What was not deleted is still there.
#[test]
fn deleted_alone() {
    on_each_peer(|peer| {
        let broker = restarted_without_a_topic(peer);
        assert_eq!(broker.topic("keeps")["depth"], 1);
    });
}
