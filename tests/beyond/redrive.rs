//! Dead letters are brought back to the channel that they came from, and to no other.

use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, Peer, SOON, eventually, on_each_shoal};

use super::attempts::configure;

const REASON: &str = "the original has no dead letters";

fn start(peer: Peer) -> Broker {
    Broker::start(peer, &["--topic-shard=work=0"])
}

/// So many dead letters of channel `c`, which another channel has finished.
fn with_dead_letters(broker: &Broker, count: usize) {
    configure(broker, "c", "max_attempts=1&dead_letter_topic=dead");
    broker.post("/channel/create?topic=work&channel=other");
    let mut other = Client::consumer(broker, "work", "other", 100);
    let mut consumer = Client::consumer(broker, "work", "c", 100);
    let mut producer = Client::new(broker);
    for number in 0..count {
        producer.publish("work", format!("{number}").as_bytes());
    }
    for _ in 0..count {
        let message = consumer.message();
        consumer.req(&message.id, 0);
        let message = other.message();
        other.fin(&message.id);
    }
    eventually("all are dead", SOON, || broker.topic("dead")["depth"] == count);
}

#[test]
fn they_come_back_where_they_came_from() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        with_dead_letters(&broker, 20);
        let mut consumer = Client::consumer(&broker, "work", "c", 100);
        let mut other = Client::consumer(&broker, "work", "other", 100);
        let reply = broker.request("POST", "/channel/redrive?topic=dead&channel=r&rate=1000", b"");
        assert_eq!((reply.status, &reply.json()["left"]), (200, &20.into()), "{reply:?}");
        let mut bodies: Vec<String> = (0..20)
            .map(|_| {
                let message = consumer.message();
                assert_eq!(message.attempts, 1, "attempts begin anew");
                consumer.fin(&message.id);
                message.text().to_owned()
            })
            .collect();
        bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
        let wanted: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
        assert_eq!(bodies, wanted);
        other.silent(Duration::from_millis(100));
        eventually("it is told", SOON, || {
            let progress = broker.request("GET", "/channel/redrive?topic=dead&channel=r", b"");
            progress.json()["moved"] == 20
        });
        eventually("none is left", SOON, || broker.channel("dead", "r")["depth"] == 0);
        let dir = broker.kill();
        let broker = Broker::start_in(peer, &["--topic-shard=work=0"], dir);
        for (topic, channel) in [("work", "c"), ("work", "other"), ("dead", "r")] {
            assert_eq!(broker.channel(topic, channel)["depth"], 0, "{topic}/{channel}");
        }
    });
}

#[test]
fn the_rate_is_kept_and_can_be_ended() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        with_dead_letters(&broker, 30);
        let mut consumer = Client::consumer(&broker, "work", "c", 100);
        let start = Instant::now();
        broker.post("/channel/redrive?topic=dead&channel=r&rate=10");
        for _ in 0..6 {
            let message = consumer.message();
            consumer.fin(&message.id);
        }
        // The first need not wait.
        assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
        broker.post("/channel/redrive?topic=dead&channel=r&rate=0");
        consumer.drain(Duration::from_millis(300));
        let left = broker.channel("dead", "r")["depth"].as_u64().unwrap();
        assert!(left > 0 && left <= 24, "{left}");
    });
}

/// What did not come from anywhere stays, and so does what has nowhere to go to any more.
#[test]
fn what_cannot_go_back_stays() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        with_dead_letters(&broker, 3);
        Client::new(&broker).publish("dead", b"published here");
        broker.post("/channel/delete?topic=work&channel=c");
        broker.post("/channel/redrive?topic=dead&channel=r&rate=1000");
        eventually("all were tried", SOON, || {
            let reply = broker.request("GET", "/channel/redrive?topic=dead&channel=r", b"");
            reply.json()["kept"] == 4
        });
        assert_eq!(broker.channel("dead", "r")["depth"], 4);
        for (target, status) in [
            ("/channel/redrive?topic=none&channel=r&rate=1", 404),
            ("/channel/redrive?topic=dead&channel=r", 400),
            ("/channel/redrive?topic=dead&channel=r&rate=x", 400),
            ("/channel/redrive?topic=dead&channel=r&rate=1000001", 400),
        ] {
            assert_eq!(broker.request("POST", target, b"").status, status, "{target}");
        }
    });
}
