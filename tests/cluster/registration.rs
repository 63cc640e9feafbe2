//! What a nsqlookupd hears of an nsqd: who it is, and every topic and channel, from the first to
//! the last.

use std::time::{Duration, Instant};

use super::lookupd::Lookupd;
use super::{on_each_lookupd, on_each_pair};
use crate::harness::{Broker, Client, HttpConnection, SOON, eventually};

#[test]
fn topics_and_channels_are_registered_as_they_come_and_go() {
    on_each_pair(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let broker = Broker::start(pair.nsqd, &[&lookupd.flag()]);
        lookupd.await_nodes(1);
        lookupd.await_registered(&[]);
        broker.post("/topic/create?topic=t");
        broker.post("/topic/create?topic=u");
        lookupd.await_registered(&["t", "u"]);
        broker.post("/channel/create?topic=t&channel=c");
        lookupd.await_registered(&["t", "t/c", "u"]);
        let consumer = Client::consumer(&broker, "e#ephemeral", "x#ephemeral", 1);
        let all = ["e#ephemeral", "e#ephemeral/x#ephemeral", "t", "t/c", "u"];
        lookupd.await_registered(&all);
        drop(consumer);
        lookupd.await_registered(&["t", "t/c", "u"]);
        broker.post("/channel/delete?topic=t&channel=c");
        lookupd.await_registered(&["t", "u"]);
        broker.post("/channel/create?topic=t&channel=d");
        broker.post("/topic/delete?topic=t");
        lookupd.await_registered(&["u"]);
        // A publish makes a topic as well, over either protocol.
        let mut producer = Client::new(&broker);
        producer.publish("v", b"x");
        assert_eq!(broker.request("POST", "/pub?topic=w", b"x").status, 200);
        lookupd.await_registered(&["u", "v", "w"]);
        drop(broker);
        lookupd.await_nodes(0);
        lookupd.await_registered(&[]);
    });
}

#[test]
fn a_node_says_who_it_is() {
    on_each_pair(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let told = ["--broadcast-tcp-port=1234", "--topology-region=r", "--topology-zone=z"];
        let flags = [&lookupd.flag(), told[0], told[1], told[2]];
        let broker = Broker::start(pair.nsqd, &flags);
        lookupd.await_nodes(1);
        let node = lookupd.get("/nodes")["producers"][0].clone();
        let info = broker.request("GET", "/info", b"").json();
        for field in ["broadcast_address", "hostname", "version", "http_port"] {
            assert_eq!(node[field], info[field], "{field} of {node}");
        }
        for (option, port) in [("tcp", 1234), ("http", broker.http.port())] {
            let target = format!("/config/broadcast_{option}_port");
            assert_eq!(broker.request("GET", &target, b"").text(), port.to_string());
        }
        assert_eq!(node["tcp_port"], 1234, "{node}");
        assert_eq!(node["topology_region"], "r", "{node}");
        assert_eq!(node["topology_zone"], "z", "{node}");
        assert_eq!(node["http_port"], broker.http.port(), "{node}");
    });
}

#[test]
fn what_was_there_before_a_restart_is_registered_too() {
    on_each_pair(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let broker = Broker::start(pair.nsqd, &[&lookupd.flag()]);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        broker.post("/topic/create?topic=u");
        lookupd.await_registered(&["t", "t/c", "u"]);
        let dir = broker.stop();
        lookupd.await_registered(&[]);
        let _broker = Broker::start_in(pair.nsqd, &[&lookupd.flag()], dir);
        lookupd.await_registered(&["t", "t/c", "u"]);
    });
}

#[test]
fn lookupds_can_change_while_it_runs() {
    on_each_pair(|pair| {
        let lookupds = [Lookupd::start(pair.lookupd), Lookupd::start(pair.lookupd)];
        let broker = Broker::start(pair.nsqd, &[]);
        broker.post("/topic/create?topic=t");
        let set = |addresses: &[&Lookupd]| {
            let list: Vec<String> = addresses.iter().map(|at| at.tcp().to_string()).collect();
            let json = serde_json::to_vec(&list).unwrap();
            let reply = broker.request("PUT", "/config/nsqlookupd_tcp_addresses", &json);
            assert_eq!((reply.status, reply.body), (200, json));
        };
        set(&[&lookupds[0]]);
        lookupds[0].await_registered(&["t"]);
        set(&[&lookupds[1]]);
        lookupds[1].await_registered(&["t"]);
        lookupds[0].await_nodes(0);
        broker.post("/topic/create?topic=u");
        lookupds[1].await_registered(&["t", "u"]);
        set(&[&lookupds[0], &lookupds[1]]);
        lookupds[0].await_registered(&["t", "u"]);
        set(&[]);
        lookupds.iter().for_each(|lookupd| lookupd.await_nodes(0));
    });
}

/// The original needs up to two pings; ours comes back at once.
#[test]
fn a_restarted_lookupd_is_told_everything_again() {
    on_each_lookupd(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let broker = Broker::start(pair.nsqd, &[&lookupd.flag()]);
        for number in 0..300 {
            broker.post(&format!("/topic/create?topic=t{number}"));
            broker.post(&format!("/channel/create?topic=t{number}&channel=c"));
        }
        eventually("all is registered", SOON, || lookupd.registered().len() == 600);
        let (tcp, http) = (lookupd.tcp(), lookupd.http());
        lookupd.process.kill();
        // Meanwhile something changes.
        broker.post("/topic/delete?topic=t0");
        broker.post("/topic/create?topic=new");
        let lookupd = Lookupd::start_at(pair.lookupd, tcp, http);
        let start = Instant::now();
        eventually("all is registered again", SOON, || lookupd.registered().len() == 599);
        assert!(start.elapsed() < Duration::from_secs(12), "after {:?}", start.elapsed());
        assert!(lookupd.registered().contains("new"));
    });
}

/// Deleted at the nsqlookupds and made again at once: the registration comes back, and a tombstone
/// ends.
#[test]
fn a_topic_that_was_made_again_is_registered_again() {
    on_each_lookupd(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let broker = Broker::start(pair.nsqd, &[&lookupd.flag()]);
        broker.post("/topic/create?topic=t");
        lookupd.await_registered(&["t"]);
        let node = format!("127.0.0.1:{}", broker.http.port());
        lookupd.process.post(&format!("/topic/tombstone?topic=t&node={node}"));
        assert_eq!(lookupd.producers("t"), 0);
        let mut http = HttpConnection::new(broker.http);
        assert_eq!(http.request("POST", "/topic/delete?topic=t", b"").status, 200);
        assert_eq!(http.request("POST", "/topic/create?topic=t", b"").status, 200);
        eventually("the tombstone is gone", SOON, || lookupd.producers("t") == 1);
    });
}

/// A name that leads to both families leads to one nsqlookupd.
#[test]
fn a_name_is_looked_up() {
    on_each_pair(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let flag = format!("--lookupd-tcp-address=localhost:{}", lookupd.tcp().port());
        let broker = Broker::start(pair.nsqd, &[&flag]);
        broker.post("/topic/create?topic=t");
        lookupd.await_registered(&["t"]);
        std::thread::sleep(Duration::from_millis(300));
        lookupd.await_nodes(1);
    });
}
