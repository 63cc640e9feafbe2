//! Draining: a node that is to go gives out what it has and ends.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::WHY;

use crate::cluster::{Lookupd, Program};
use crate::harness::{Broker, Client, Peer, SOON, dpub, eventually, mpub, on_each_shoal, publish};

fn drain(broker: &Broker, body: &str) -> Value {
    let reply = broker.request("PUT", "/config/drain", body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until every shard has heard of it.
fn counted(broker: &Broker) -> Value {
    let progress = || broker.request("GET", "/config/drain", b"").json();
    eventually("all shards have counted", SOON, || progress()["counted"] == true);
    progress()
}

#[test]
fn publishes_are_refused_and_consumers_served_until_nothing_is_left() {
    on_each_shoal(WHY, |peer| {
        let mut broker = Broker::start(peer, &[]);
        let mut producer = Client::new(&broker);
        // Several topics, so that they live on all shards.
        let topics = ["a", "b", "c", "d"];
        for topic in topics {
            broker.post(&format!("/topic/create?topic={topic}"));
            broker.post(&format!("/channel/create?topic={topic}&channel=c"));
            producer.publish(topic, b"one");
            producer.publish(topic, b"two");
        }
        let idle = broker.request("GET", "/config/drain", b"");
        assert_eq!(idle.json()["draining"], false);
        let mut before = Client::consumer(&broker, "a", "c", 1);
        let in_flight = before.delivery("one", 1);
        assert_eq!(drain(&broker, "")["draining"], true);
        let progress = counted(&broker);
        assert_eq!(progress["waiting"], 7, "{progress}");
        assert_eq!(progress["in_flight"], 1, "{progress}");
        assert!(progress["left_ms"].is_null(), "{progress}");

        check_refused(&broker);
        before.command(&format!("FIN {in_flight}"));
        let last = before.delivery("two", 1);
        before.command(&format!("FIN {last}"));
        for topic in &topics[1..] {
            // Who comes only now is served as well.
            let mut consumer = Client::consumer(&broker, topic, "c", 10);
            for body in ["one", "two"] {
                let id = consumer.delivery(body, 1);
                consumer.command(&format!("FIN {id}"));
            }
            assert!(consumer.try_send(b"NOP\n"));
        }
        assert_eq!(broker.wait(SOON).code(), Some(0));
        for line in ["drained: no message is left", "NSQ: bye"] {
            eventually(line, SOON, || broker.log_line(line).is_some());
        }
        let again = Broker::start_in(peer, &[], broker.dir());
        assert_eq!(again.channel("a", "c")["depth"], 0);
    });
}

/// In the words in which the original refuses while it ends.
fn check_refused(broker: &Broker) {
    let commands = [
        (publish("a", b"x"), "E_PUB_FAILED PUB failed exiting"),
        (publish("new", b"x"), "E_PUB_FAILED PUB failed exiting"),
        (mpub("b", &[b"x"]), "E_MPUB_FAILED MPUB failed exiting"),
        (dpub("c", 10, b"x"), "E_DPUB_FAILED DPUB failed exiting"),
    ];
    for (command, refusal) in commands {
        let mut client = Client::new(broker);
        client.send(&command);
        client.expect(&format!("error: {refusal}"));
        client.closed();
    }
    for target in ["/pub?topic=a", "/pub?topic=new", "/mpub?topic=b", "/pub?topic=c&defer=5"] {
        let reply = broker.request("POST", target, b"x");
        assert_eq!((reply.status, reply.text()), (503, r#"{"message":"EXITING"}"#), "{target}");
    }
    assert!(broker.topic("new").is_null(), "a refused publish makes no topic");
}

#[test]
fn a_time_that_is_over_ends_it_and_keeps_the_rest() {
    on_each_shoal(WHY, |peer| {
        let mut broker = Broker::start(peer, &["--drain-timeout=1h"]);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        Client::new(&broker).publish("t", b"left");
        let progress = drain(&broker, "");
        assert!(progress["left_ms"].as_u64().unwrap() > 3_500_000, "{progress}");
        let start = Instant::now();
        let progress = drain(&broker, "300ms");
        assert!(progress["left_ms"].as_u64().unwrap() <= 300, "{progress}");
        assert_eq!(broker.wait(SOON).code(), Some(0));
        assert!(start.elapsed() >= Duration::from_millis(290));
        let line = broker.log_line("draining took too long").unwrap();
        assert!(line.contains("1 messages are left"), "{line}");
        let again = Broker::start_in(peer, &[], broker.dir());
        Client::consumer(&again, "t", "c", 1).delivery("left", 1);
    });
}

#[test]
fn a_signal_drains_as_well_and_another_stops_at_once() {
    on_each_shoal(WHY, |peer| {
        let mut idle = Broker::start(peer, &[]);
        idle.signal(libc::SIGUSR1);
        assert_eq!(idle.wait(SOON).code(), Some(0), "nothing is there to give out");
        let mut broker = Broker::start(peer, &[]);
        Client::new(&broker).publish("t", b"x");
        broker.signal(libc::SIGUSR1);
        counted(&broker);
        broker.signal(libc::SIGUSR1);
        broker.signal(libc::SIGTERM);
        assert_eq!(broker.wait(SOON).code(), Some(0));
        assert_eq!(broker.log_count("NSQ: draining"), 1);
        assert!(broker.log_line("NSQ: closing on SIGTERM").is_some());
    });
}

#[test]
fn what_is_no_duration_is_refused_and_changes_nothing() {
    on_each_shoal(WHY, |peer| {
        let broker = Broker::start(peer, &[]);
        Client::new(&broker).publish("t", b"x");
        for (target, body, status) in [
            ("/config/drain", "soon", 400),
            ("/config/drain", "-1s", 400),
            ("/config/drain", "5", 400),
            ("/config/drain?timeout=x", "", 400),
            ("/config/drain?timeout=%zz", "", 400),
        ] {
            let reply = broker.request("PUT", target, body.as_bytes());
            assert_eq!(reply.status, status, "{target} {body}");
        }
        let long = "1".repeat(65);
        assert_eq!(broker.request("PUT", "/config/drain", long.as_bytes()).status, 413);
        for method in ["POST", "DELETE"] {
            let reply = broker.request(method, "/config/drain", b"");
            assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, OPTIONS, PUT")));
        }
        assert_eq!(broker.request("GET", "/config/drain", b"").json()["draining"], false);
        Client::new(&broker).publish("t", b"still taken");
        let reply = broker.request("PUT", "/config/drain?timeout=1h", b"2h");
        assert!(reply.json()["left_ms"].as_u64().unwrap() <= 3_600_000);
    });
}

#[test]
fn nsqlookupds_forget_a_node_that_drains() {
    let lookupd = Lookupd::start(Program::Shoal);
    let broker = Broker::start(Peer::Shoal { shards: 2 }, &[&lookupd.flag()]);
    Client::new(&broker).publish("t", b"x");
    lookupd.await_registered(&["t"]);
    drain(&broker, "");
    lookupd.await_nodes(0);
    // Nobody brings it back by naming nsqlookupds anew.
    let addresses = format!("[\"{}\"]", lookupd.flag().split_once('=').unwrap().1);
    let target = "/config/nsqlookupd_tcp_addresses";
    assert_eq!(broker.request("PUT", target, addresses.as_bytes()).status, 200);
    eventually("the change is refused", SOON, || broker.log_line("LOOKUP: draining").is_some());
    lookupd.await_nodes(0);
}
