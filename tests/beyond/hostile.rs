//! What an operator may do in the worst order: circles, deletions under way, limits on top of
//! limits, pauses, drains and restarts. Nothing is lost that nobody asked to lose.

use std::time::Duration;

use crate::harness::{Broker, Client, Peer, SOON, eventually, on_each_shoal};

const REASON: &str = "the original has no dead letters";
const FLAGS: [&str; 1] = ["--topic-shard=a=0"];

fn start(peer: Peer) -> Broker {
    let broker = Broker::start(peer, &FLAGS);
    for topic in ["a", "b", "c"] {
        broker.post(&format!("/topic/create?topic={topic}"));
        broker.post(&format!("/channel/create?topic={topic}&channel=x"));
    }
    broker
}

fn channel_config(broker: &Broker, topic: &str, settings: &str) -> u16 {
    let target = format!("/channel/config?topic={topic}&channel=x&{settings}");
    broker.request("POST", &target, b"").status
}

fn number(broker: &Broker, topic: &str, field: &str) -> u64 {
    broker.topic(topic)[field].as_u64().unwrap_or(0)
}

/// Delivers so many messages of `a/x` in vain, once each.
fn give_back(broker: &Broker, count: usize) {
    let mut consumer = Client::consumer(broker, "a", "x", 100);
    let messages: Vec<_> = (0..count).map(|_| consumer.message()).collect();
    for message in messages {
        consumer.req(&message.id, 0);
    }
    consumer.alive();
}

fn publish(broker: &Broker, topic: &str, count: usize) {
    let mut producer = Client::new(broker);
    (0..count).for_each(|number| producer.publish(topic, format!("{number}").as_bytes()));
}

/// Whichever of three topics is last to point on, be it the topic or its channel, before or after a
/// restart: a circle is refused, and two that go the same way are none.
#[test]
fn no_order_makes_a_circle() {
    on_each_shoal(REASON, |peer| {
        let way = [("a", "b"), ("b", "c"), ("c", "a")];
        let mut broker = start(peer);
        for last in 0..3 {
            for as_topic in [false, true] {
                let point = |broker: &Broker, (from, to): (&str, &str), as_topic: bool| {
                    let kind = if as_topic { "topic" } else { "channel" };
                    let channel = if as_topic { "" } else { "&channel=x" };
                    let target =
                        format!("/{kind}/config?topic={from}{channel}&dead_letter_topic={to}");
                    broker.request("POST", &target, b"").status
                };
                let others = [way[(last + 1) % 3], way[(last + 2) % 3]];
                assert_eq!(point(&broker, others[0], as_topic), 200);
                assert_eq!(point(&broker, others[1], !as_topic), 200);
                assert_eq!(point(&broker, way[last], as_topic), 400, "{last}");
                broker = Broker::start_in(peer, &FLAGS, broker.kill());
                assert_eq!(point(&broker, way[last], !as_topic), 400, "{last} after a restart");
                // The same way twice is no circle.
                assert_eq!(point(&broker, others[0], !as_topic), 200);
                for (from, _) in way {
                    assert_eq!(point(&broker, (from, ""), true), 200);
                    assert_eq!(point(&broker, (from, ""), false), 200);
                }
            }
        }
        let longest = "x".repeat(64);
        let set = |target: &str| broker.request("POST", target, b"").status;
        let target = "/channel/config?topic=a&channel=x&dead_letter_topic=";
        assert_eq!(set(&format!("{target}{longest}")), 200, "64 bytes are a name");
        assert_eq!(set(&format!("{target}{longest}x")), 400, "65 are none");
        assert_eq!(set(&format!("{target}{longest}%23ephemeral")), 400);
    });
}

/// The dead-letter topic is deleted while letters wait for it: it is made anew, and gets them. So
/// does the channel that they came from: what it gave up already arrives, what it held is gone.
#[test]
fn topics_and_channels_go_while_letters_travel() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        assert_eq!(channel_config(&broker, "a", "max_attempts=1&dead_letter_topic=b"), 200);
        broker.post("/topic/config?topic=b&max_messages=1");
        publish(&broker, "b", 1);
        publish(&broker, "a", 5);
        give_back(&broker, 5);
        // `b` is full: they wait, and do not knock all the time.
        broker.await_channel("a", "x", "dead_lettering_count", 5);
        std::thread::sleep(Duration::from_millis(300));
        let knocks = number(&broker, "b", "rejected_count");
        assert!((1..=5 * 60).contains(&knocks), "{knocks} in the time of this test");
        broker.post("/topic/delete?topic=b");
        eventually("all are there", SOON, || number(&broker, "b", "depth") == 5);
        broker.await_channel("a", "x", "depth", 0);
        assert!(broker.channel("a", "x")["dead_lettering_count"].is_null());

        broker.post("/topic/config?topic=b&max_messages=5");
        publish(&broker, "a", 3);
        give_back(&broker, 3);
        broker.await_channel("a", "x", "dead_lettering_count", 3);
        broker.post("/channel/delete?topic=a&channel=x");
        broker.post("/topic/config?topic=b&max_messages=0");
        std::thread::sleep(Duration::from_millis(1300));
        assert_eq!(number(&broker, "b", "depth"), 5, "a channel that is gone has nothing to give");
        let broker = Broker::start_in(peer, &FLAGS, broker.stop());
        assert_eq!(number(&broker, "b", "depth"), 5);
        assert!(broker.channel("a", "x").is_null());
    });
}

/// A dead-letter topic that is full gives on what is too much, to a dead-letter topic of its own.
#[test]
fn letters_go_on_from_topic_to_topic() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        assert_eq!(channel_config(&broker, "a", "max_attempts=1&dead_letter_topic=b"), 200);
        let full = "max_messages=2&on_full=dead-letter&dead_letter_topic=c";
        assert_eq!(channel_config(&broker, "b", full), 200);
        publish(&broker, "a", 7);
        give_back(&broker, 7);
        broker.await_channel("b", "x", "depth", 2);
        broker.await_channel("c", "x", "depth", 5);
        let broker = Broker::start_in(peer, &FLAGS, broker.kill());
        broker.await_channel("b", "x", "depth", 2);
        // One may have gone twice.
        let depth = broker.channel("c", "x")["depth"].as_u64().unwrap();
        assert!((5..=7).contains(&depth), "{depth}");
        // What comes back from `c` comes to `b`, where it was given up last, and `b` is full.
        broker.post("/channel/redrive?topic=c&channel=x&rate=1000&max=1");
        eventually("it was tried", SOON, || {
            let reply = broker.request("GET", "/channel/redrive?topic=c&channel=x", b"").json();
            reply["moved"] == 1 || reply["kept"] == 1
        });
        broker.await_channel("b", "x", "depth", 2);
    });
}

/// Pauses hold back what is delivered, and no letters; a node that drains sends its letters, and
/// what is ephemeral may give some up too.
#[test]
fn pauses_drains_and_ephemeral_channels() {
    on_each_shoal(REASON, |peer| {
        let mut broker = start(peer);
        broker.post("/channel/create?topic=a&channel=e%23ephemeral");
        let target = "/channel/config?topic=a&channel=e%23ephemeral&max_attempts=1";
        broker.post(&format!("{target}&dead_letter_topic=b"));
        assert_eq!(channel_config(&broker, "a", "max_attempts=1&dead_letter_topic=c"), 200);
        broker.post("/topic/pause?topic=b");
        broker.post("/topic/pause?topic=c");
        let mut passing = Client::consumer(&broker, "a", "e#ephemeral", 10);
        publish(&broker, "a", 2);
        for _ in 0..2 {
            let message = passing.message();
            passing.req(&message.id, 0);
        }
        eventually("they wait in a paused topic", SOON, || number(&broker, "b", "depth") == 2);
        drop(passing);
        eventually("it is gone", SOON, || broker.channel("a", "e#ephemeral").is_null());
        // They cannot come back to a channel that is gone.
        broker.post("/topic/unpause?topic=b");
        broker.post("/channel/redrive?topic=b&channel=x&rate=1000");
        eventually("they stay", SOON, || {
            let reply = broker.request("GET", "/channel/redrive?topic=b&channel=x", b"").json();
            reply["kept"] == 2 && reply["left"] == 0
        });
        broker.await_channel("b", "x", "depth", 2);
        broker.post("/channel/pause?topic=a&channel=x");
        broker.post("/channel/unpause?topic=a&channel=x");
        let mut consumer = Client::consumer(&broker, "a", "x", 10);
        let messages = [consumer.message(), consumer.message()];
        let reply = broker.request("PUT", "/config/drain", b"");
        assert_eq!(reply.status, 200, "{reply:?}");
        for message in &messages {
            consumer.req(&message.id, 0);
        }
        eventually("letters leave a node that drains", SOON, || number(&broker, "c", "depth") == 2);
        broker.signal(libc::SIGTERM);
        broker.wait(SOON);
        let broker = Broker::start_in(peer, &FLAGS, broker.dir());
        assert_eq!(number(&broker, "c", "depth"), 2);
        broker.await_channel("a", "x", "depth", 0);
    });
}
