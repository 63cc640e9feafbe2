//! New topics get the channels that others know, and consumers find where messages are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::lookupd::Lookupd;
use super::scripted::{Http, Script, Scripted};
use super::{clients, on_each_lookupd, on_each_pair};
use crate::harness::{Broker, Client, SOON, eventually};

#[test]
fn a_new_topic_has_the_channels_that_others_know() {
    on_each_pair(|pair| {
        let lookupds = [Lookupd::start(pair.lookupd), Lookupd::start(pair.lookupd)];
        let broker = Broker::start(pair.nsqd, &[&lookupds[0].flag(), &lookupds[1].flag()]);
        lookupds.iter().for_each(|lookupd| lookupd.await_nodes(1));
        // Each knows a part, and one knows a channel that dies with its consumers.
        lookupds[0].process.post("/channel/create?topic=t&channel=a");
        lookupds[0].process.post("/channel/create?topic=t&channel=x%23ephemeral");
        lookupds[1].process.post("/channel/create?topic=t&channel=a");
        lookupds[1].process.post("/channel/create?topic=t&channel=b");
        let mut producer = Client::new(&broker);
        producer.publish("t", b"one");
        for channel in ["a", "b"] {
            broker.await_channel("t", channel, "depth", 1);
        }
        let channels = broker.topic("t")["channels"].as_array().map_or(0, Vec::len);
        assert_eq!(channels, 2, "{}", broker.topic("t"));
        for lookupd in &lookupds {
            lookupd.await_registered(&["t", "t/a", "t/b"]);
        }
    });
}

#[test]
fn topics_made_in_other_ways_have_them_too() {
    on_each_pair(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let broker = Broker::start(pair.nsqd, &[&lookupd.flag()]);
        lookupd.await_nodes(1);
        for topic in ["http", "made", "sub", "e%23ephemeral"] {
            lookupd.process.post(&format!("/channel/create?topic={topic}&channel=known"));
        }
        assert_eq!(broker.request("POST", "/pub?topic=http", b"x").status, 200);
        broker.post("/topic/create?topic=made");
        let _consumer = Client::consumer(&broker, "sub", "own", 1);
        broker.post("/topic/create?topic=e%23ephemeral");
        for topic in ["http", "made", "sub", "e#ephemeral"] {
            let known = || broker.channel(topic, "known") != Value::Null;
            eventually(&format!("{topic} has its channel"), SOON, known);
        }
    });
}

/// A message that came while the topic waited is not lost, whatever becomes of the process.
#[test]
fn a_topic_that_waits_survives_a_kill() {
    on_each_lookupd(|pair| {
        let silent = Scripted::start(Script::Honest(Http::Silent));
        let broker = Broker::start(pair.nsqd, &[&silent.flag()]);
        silent.await_identified();
        let mut producer = Client::new(&broker);
        producer.publish("t", b"one");
        let mut consumer = Client::consumer(&broker, "t", "own", 1);
        assert!(consumer.next(Duration::from_millis(500)).is_err(), "the topic waits");
        let dir = broker.kill();
        let lookupd = Lookupd::start(pair.lookupd);
        lookupd.process.post("/channel/create?topic=t&channel=known");
        let broker = Broker::start_in(pair.nsqd, &[&lookupd.flag()], dir);
        for channel in ["own", "known"] {
            broker.await_channel("t", channel, "depth", 1);
        }
    });
}

/// What a program on a real client library says that it saw.
fn report(output: &str) -> Value {
    let line = output.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no report: {output}"))).unwrap()
}

/// A consumer on a library that asks the nsqlookupds where messages are.
fn consumer(command: &[&str], lookupds: &[Lookupd], topic: &str) -> Command {
    let program = command[0];
    let program = if program.contains('/') { clients().join(program) } else { program.into() };
    let mut consumer = Command::new(program);
    let addresses: Vec<String> = lookupds.iter().map(|at| at.http().to_string()).collect();
    consumer.args(&command[1..]).current_dir(clients());
    consumer.args(["--mode", "consume", "--channel", "c", "--topic", topic]);
    consumer.args(["--messages", "400", "--deadline-s", "60", "--lookupd", &addresses.join(",")]);
    consumer
}

/// Consumers that are there first find a topic that comes later, and all of its messages.
#[test]
fn real_consumers_discover() {
    let libraries: [(&str, &[&str]); 2] = [
        ("go/bin/client", &["go/bin/client"]),
        ("js/node_modules/.stamp", &["node", "js/client.js"]),
    ];
    on_each_pair(|pair| {
        let lookupds = [Lookupd::start(pair.lookupd), Lookupd::start(pair.lookupd)];
        let broker = Broker::start(pair.nsqd, &[&lookupds[0].flag(), &lookupds[1].flag()]);
        lookupds.iter().for_each(|lookupd| lookupd.await_nodes(1));
        std::thread::scope(|scope| {
            for (number, (built, command)) in libraries.iter().enumerate() {
                assert!(clients().join(built).exists(), "{built} is missing: run clients/setup");
                let topic = format!("t{number}");
                let command = consumer(command, &lookupds, &topic);
                let running = scope.spawn(|| Broker::run(command, Duration::from_secs(80)));
                produce(&broker, &topic);
                let exit = running.join().unwrap();
                assert!(exit.status.success(), "{built}: {}\n{}", exit.status, exit.output);
                let report = report(&exit.output);
                assert_eq!((&report["distinct"], &report["corrupt"]), (&400.into(), &0.into()));
            }
        });
    });
}

/// Publishes the messages that the consumers expect.
fn produce(broker: &Broker, topic: &str) {
    let mut command = Command::new(clients().join("go/bin/client"));
    command.args(["--nsqd", &broker.tcp.to_string(), "--mode", "produce", "--topic", topic]);
    command.args(["--messages", "400"]).current_dir(Path::new(&clients()));
    let exit = Broker::run(command, SOON * 2);
    assert!(exit.status.success(), "{}\n{}", exit.status, exit.output);
}
