//! Reports to a statsd: every name, type and value, as the original sends them.

pub mod receiver;

use crate::harness::{Broker, Client, Peer, on_each_peer};
use receiver::Receiver;

/// A broker that reports as often as the original can.
fn reporting(peer: Peer, to: &Receiver, flags: &[&str]) -> Broker {
    let address = format!("--statsd-address={}", to.address());
    let mut all = vec![address.as_str(), "--statsd-interval=2s"];
    all.extend(flags);
    Broker::start(peer, &all)
}

/// Two topics with known numbers: of four messages one is finished, one put off, one in flight.
fn flow(broker: &Broker) -> Client {
    let mut client = Client::new(broker);
    client.subscribe("t", "c");
    client.command("RDY 3");
    for body in ["1", "22", "333", "4444"] {
        client.send(&crate::harness::publish("t", body.as_bytes()));
    }
    let mut ids = Vec::new();
    while ids.len() < 3 {
        if let crate::harness::Frame::Message(message) = client.frame() {
            ids.push(message.id);
        }
    }
    client.command("RDY 0");
    client.fin(&ids[0]);
    client.req(&ids[1], 3_600_000);
    broker.post("/topic/create?topic=e%23ephemeral");
    broker.post("/channel/create?topic=t&channel=d%23ephemeral");
    broker.await_channel("t", "c", "deferred_count", 1);
    client
}

const OF_TOPICS: [(&str, char); 4] =
    [("message_count", 'c'), ("message_bytes", 'c'), ("depth", 'g'), ("backend_depth", 'g')];

const OF_CHANNELS: [(&str, char); 8] = [
    ("message_count", 'c'),
    ("depth", 'g'),
    ("backend_depth", 'g'),
    ("in_flight_count", 'g'),
    ("deferred_count", 'g'),
    ("requeue_count", 'c'),
    ("timeout_count", 'c'),
    ("clients", 'g'),
];

const OF_MEMORY: [(&str, char); 9] = [
    ("heap_objects", 'g'),
    ("heap_idle_bytes", 'g'),
    ("heap_in_use_bytes", 'g'),
    ("heap_released_bytes", 'g'),
    ("gc_pause_usec_100", 'g'),
    ("gc_pause_usec_99", 'g'),
    ("gc_pause_usec_95", 'g'),
    ("next_gc_bytes", 'g'),
    ("gc_runs", 'c'),
];

fn named(of: &str, names: &[(&str, char)]) -> Vec<(String, char)> {
    names.iter().map(|(name, kind)| (format!("{of}.{name}"), *kind)).collect()
}

/// All names of the flow, with two percentiles, sorted.
fn expected(prefix: &str) -> Vec<(String, char)> {
    let percentiles = [("e2e_processing_latency_100", 'g'), ("e2e_processing_latency_50", 'g')];
    let mut all = Vec::new();
    for topic in ["t", "e#ephemeral"] {
        all.extend(named(&format!("{prefix}topic.{topic}"), &OF_TOPICS));
    }
    all.extend(named(&format!("{prefix}topic.t"), &percentiles));
    for channel in ["c", "d#ephemeral"] {
        let of = format!("{prefix}topic.t.channel.{channel}");
        all.extend(named(&of, &OF_CHANNELS));
        all.extend(named(&of, &percentiles));
    }
    all.extend(named(&format!("{prefix}mem"), &OF_MEMORY));
    all.sort();
    all
}

#[test]
fn every_name_type_and_value() {
    on_each_peer(|peer| {
        let mut receiver = Receiver::new();
        // 99.9 percent have the name of all of them.
        let broker = reporting(peer, &receiver, &["--e2e-processing-latency-percentile=0.999,0.5"]);
        let _client = flow(&broker);
        let prefix = format!("nsq.127_0_0_1_{}.", broker.http.port());
        let name = |rest: &str| format!("{prefix}topic.{rest}");
        receiver.until("a report of the whole flow", |found| {
            found.get(&name("t.channel.c.deferred_count")) == Some(1)
                && found.get(&name("t.channel.d#ephemeral.clients")) == Some(0)
                && found.get(&name("e#ephemeral.depth")) == Some(0)
                && found.get(&name("t.channel.c.requeue_count")) == Some(1)
                && found.get(&format!("{prefix}mem.gc_runs")).is_some()
        });
        let mut names = receiver.order.clone();
        names.sort();
        assert_eq!(names, expected(&prefix));
        for (rest, value) in [
            ("t.message_count", 4),
            ("t.message_bytes", 10),
            ("t.depth", 0),
            ("t.channel.c.message_count", 4),
            ("t.channel.c.depth", 1),
            ("t.channel.c.in_flight_count", 1),
            ("t.channel.c.timeout_count", 0),
            ("t.channel.c.clients", 1),
            ("t.channel.d#ephemeral.message_count", 0),
        ] {
            assert_eq!(receiver.get(&name(rest)), Some(value), "{rest}");
        }
        for rest in ["t", "t.channel.c"] {
            let latency = receiver.get(&name(&format!("{rest}.e2e_processing_latency_100")));
            assert!(latency > Some(0), "{rest}: {latency:?}");
        }
        assert!(receiver.packets.iter().all(|&bytes| bytes <= 508), "{:?}", receiver.packets);
        assert!(broker.log_line("STATSD: pushing stats to ").is_some());
        let shown = broker.request("GET", "/config/statsd_prefix", b"");
        assert_eq!(shown.text(), prefix);
    });
}

#[test]
fn what_is_not_wanted_is_left_out() {
    on_each_peer(|peer| {
        let mut receiver = Receiver::new();
        let flags = [
            "--statsd-prefix=here",
            "--statsd-mem-stats=false",
            "--statsd-exclude-ephemeral",
            "--statsd-udp-packet-size=80",
        ];
        let broker = reporting(peer, &receiver, &flags);
        let _client = flow(&broker);
        receiver.until("a report of the flow", |found| {
            found.get("here.topic.t.channel.c.requeue_count") == Some(1)
                && found.get("here.topic.t.channel.c.clients") == Some(1)
        });
        let mut expected = named("here.topic.t", &OF_TOPICS);
        expected.extend(named("here.topic.t.channel.c", &OF_CHANNELS));
        let mut names = receiver.order.clone();
        expected.sort();
        names.sort();
        assert_eq!(names, expected, "no percentiles, nothing ephemeral, no memory");
        assert!(receiver.packets.iter().all(|&bytes| bytes <= 80), "{:?}", receiver.packets);
    });
}

/// Where nobody listens, or the name leads nowhere, that is said, and nothing else suffers.
#[test]
fn a_statsd_that_is_not_there_harms_nobody() {
    on_each_peer(|peer| {
        let flags = ["--statsd-address=no-such-host.invalid:8125", "--statsd-interval=2s"];
        let mut broker = Broker::start(peer, &flags);
        crate::harness::eventually("a complaint", 2 * crate::harness::SOON, || {
            broker.log_line("failed to create UDP socket to statsd(").is_some()
        });
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
        broker.signal(libc::SIGTERM);
        assert_eq!(broker.wait(crate::harness::SOON).code(), Some(0));
    });
}
