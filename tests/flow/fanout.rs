//! A topic's messages go to each of its channels, and in a channel to one of its consumers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::publish_numbers;
use crate::harness::{Broker, Client, eventually, on_each_peer};

/// The first channel gets what the topic has gathered; later ones only what comes after.
#[test]
fn backlog_goes_to_the_first_channel() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        publish_numbers(&broker, "t", 5);
        assert_eq!(broker.topic("t")["depth"], 5);
        let mut first = Client::consumer(&broker, "t", "first", 10);
        for number in 0..5 {
            first.delivery(&number.to_string(), 1);
        }
        assert_eq!(broker.topic("t")["depth"], 0);
        let mut second = Client::consumer(&broker, "t", "second", 10);
        second.silent(Duration::from_millis(500));
        publish_numbers(&broker, "t", 1);
        first.delivery("0", 1);
        second.delivery("0", 1);
        assert_eq!(broker.channel("t", "first")["message_count"], 6);
        assert_eq!(broker.channel("t", "second")["message_count"], 1);
    });
}

/// With its last channel gone the topic gathers again, for the next first one.
#[test]
fn gathers_again_without_channels() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::consumer(&broker, "t", "c", 10);
        publish_numbers(&broker, "t", 2);
        client.message();
        client.message();
        broker.post("/channel/delete?topic=t&channel=c");
        client.closed();
        publish_numbers(&broker, "t", 3);
        assert_eq!(broker.topic("t")["depth"], 3);
        let mut again = Client::consumer(&broker, "t", "c", 10);
        for number in 0..3 {
            again.delivery(&number.to_string(), 1);
        }
        again.silent(Duration::from_millis(300));
    });
}

/// Every channel gets every message: same id, time and body, with attempts of its own.
#[test]
fn every_channel_gets_all() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut clients: Vec<Client> =
            (0..5).map(|n| Client::consumer(&broker, "t", &format!("c{n}"), 1000)).collect();
        publish_numbers(&broker, "t", 500);
        let first: Vec<_> = (0..500).map(|_| clients[0].message()).collect();
        for client in &mut clients[1..] {
            for wanted in &first {
                let message = client.message();
                assert_eq!(message.id, wanted.id);
                assert_eq!(message.timestamp, wanted.timestamp);
                assert_eq!((message.body, message.attempts), (wanted.body.clone(), 1));
            }
        }
        // One channel's FIN and REQ are nothing to the others.
        clients[0].fin(&first[0].id);
        clients[1].req(&first[0].id, 0);
        assert_eq!(clients[1].message().attempts, 2);
        clients[2].fin(&first[0].id);
        broker.await_channel("t", "c0", "in_flight_count", 499);
        broker.await_channel("t", "c1", "in_flight_count", 500);
        broker.await_channel("t", "c2", "in_flight_count", 499);
        broker.await_channel("t", "c3", "in_flight_count", 500);
    });
}

/// Consumers of one channel share its messages: each message to one of them, in order for each.
#[test]
fn consumers_share() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut clients: Vec<Client> =
            (0..3).map(|_| Client::consumer(&broker, "t", "c", 20)).collect();
        publish_numbers(&broker, "t", 900);
        let mut seen = BTreeSet::new();
        let mut shares = [0; 3];
        while seen.len() < 900 {
            for (client, share) in clients.iter_mut().zip(&mut shares) {
                for message in client.drain(Duration::from_millis(20)) {
                    assert!(seen.insert(message.text().to_string()), "twice: {}", message.text());
                    client.fin(&message.id);
                    *share += 1;
                }
            }
        }
        assert!(shares.iter().all(|share| *share >= 20), "{shares:?}");
        broker.await_channel("t", "c", "in_flight_count", 0);
        eventually("all counted", Duration::from_secs(5), || {
            let stats = broker.channel("t", "c");
            let counts = stats["clients"].as_array().unwrap();
            counts.iter().map(|one| one["finish_count"].as_u64().unwrap()).sum::<u64>() == 900
        });
    });
}

/// `--max-channel-consumers` counts per channel, and a place is free again after a disconnect.
#[test]
fn consumer_limit() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-channel-consumers=2"]);
        let first = Client::consumer(&broker, "t", "c", 0);
        let _second = Client::consumer(&broker, "t", "c", 0);
        let _elsewhere = Client::consumer(&broker, "t", "d", 0);
        let mut third = Client::new(&broker);
        third.command("SUB t c");
        third.expect("error: E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 2");
        third.closed();
        drop(first);
        broker.await_channel("t", "c", "client_count", 1);
        let _third = Client::consumer(&broker, "t", "c", 0);
        broker.await_channel("t", "c", "client_count", 2);
    });
}
