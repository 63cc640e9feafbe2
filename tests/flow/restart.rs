//! SIGTERM loses nothing: queued, in flight, deferred or given back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, TempDir, on_each_peer};

/// Every message comes again, and what was in flight with one attempt more.
#[test]
fn loses_nothing() {
    on_each_peer(|peer| {
        for round in ["--mem-queue-size=10000", "--mem-queue-size=20"] {
            let dir = std::sync::Arc::new(TempDir::new());
            let broker = Broker::start_in(peer, &[round], dir);
            let mut client = Client::consumer(&broker, "t", "c", 10);
            publish_numbers(&broker, "t", 200);
            let taken: Vec<_> = (0..10).map(|_| client.message()).collect();
            client.req(&taken[0].id, 2000);
            client.fin(&taken[1].id);
            client.publish_deferred("t", 2000, b"deferred");
            publish_numbers(&broker, "waiting", 50);
            broker.await_channel("t", "c", "deferred_count", 2);
            let broker = Broker::start_in(peer, &[round], broker.stop());
            let mut client = Client::consumer(&broker, "t", "c", 500);
            let mut attempts: BTreeMap<String, u16> = BTreeMap::new();
            while attempts.len() < 200 {
                let message = client.message();
                let body = message.text().to_string();
                assert_ne!(body, taken[1].text(), "a finished message came back");
                let before = attempts.insert(body.clone(), message.attempts);
                assert_eq!(before, None, "{body} came twice");
            }
            assert_eq!((attempts[taken[0].text()], attempts[taken[2].text()]), (2, 2));
            assert_eq!((attempts["deferred"], attempts["199"]), (1, 1));
            client.silent(Duration::from_millis(300));
            assert_eq!(broker.topic("waiting")["depth"], 50);
        }
    });
}

/// Ids and publish times outlive a restart too, and new ids are larger than old ones.
#[test]
fn keeps_ids() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        publish_numbers(&broker, "t", 3);
        let mut client = Client::consumer(&broker, "t", "c", 3);
        let before: Vec<_> = (0..3).map(|_| client.message()).collect();
        drop(client);
        let broker = Broker::start_in(peer, &[], broker.stop());
        let mut client = Client::consumer(&broker, "t", "c", 10);
        let mut after: Vec<_> = (0..3).map(|_| client.message()).collect();
        after.sort_by(|a, b| a.id.cmp(&b.id));
        for (old, new) in before.iter().zip(&after) {
            assert_eq!((&old.id, old.timestamp, &old.body), (&new.id, new.timestamp, &new.body));
            assert_eq!(new.attempts, 2);
        }
        publish_numbers(&broker, "t", 1);
        assert!(client.message().id > after[2].id);
    });
}

/// New ids are larger than those from before, also when nothing from before is left.
#[test]
fn ids_go_on() {
    on_each_peer(|peer| {
        let mut dir = std::sync::Arc::new(TempDir::new());
        let mut last = String::new();
        for _ in 0..3 {
            let broker = Broker::start_in(peer, &[], dir);
            let mut client = Client::consumer(&broker, "t", "c", 1);
            publish_numbers(&broker, "t", 3);
            for _ in 0..3 {
                let id = client.message().id;
                assert!(id > last, "{id} after {last}");
                client.fin(&id);
                last = id;
            }
            client.alive();
            dir = broker.stop();
        }
    });
}
