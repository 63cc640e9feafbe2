//! Why a dead letter is one can be looked at.

use crate::harness::{Broker, Client, SOON, eventually, on_each_shoal};

use super::attempts::configure;

#[test]
fn a_dead_letter_says_where_it_came_from() {
    on_each_shoal("the original has no dead letters", |peer| {
        let broker = Broker::start(peer, &["--topic-shard=work=0"]);
        configure(&broker, "c", "max_attempts=2&dead_letter_topic=dead");
        let mut consumer = Client::consumer(&broker, "work", "c", 1);
        Client::new(&broker).publish("work", b"poison");
        let first = consumer.message();
        consumer.req(&first.id, 0);
        let again = consumer.message();
        consumer.req(&again.id, 0);
        eventually("it is dead", SOON, || broker.topic("dead")["depth"] == 1);
        broker.post("/channel/create?topic=dead&channel=d");
        Client::new(&broker).publish("dead", b"published here");
        // Also after it was read back from the disk.
        let broker = Broker::start_in(peer, &["--topic-shard=work=0"], broker.kill());
        for (state, count) in [("ready", 2), ("dead", 1)] {
            let target = format!("/channel/messages?topic=dead&channel=d&state={state}");
            let shown = broker.request("GET", &target, b"").json();
            let messages = shown["messages"].as_array().unwrap();
            assert_eq!(messages.len(), count, "{shown}");
            let letter = &messages[0]["dead_letter"];
            assert_eq!(messages[0]["body"], "poison");
            assert_eq!(letter["reason"], "attempts");
            assert_eq!((&letter["topic"], &letter["channel"]), (&"work".into(), &"c".into()));
            assert_eq!(
                (&letter["attempts"], &letter["id"]),
                (&2.into(), &first.id.as_str().into())
            );
            assert_eq!(letter["timestamp"], first.timestamp);
        }
    });
}
