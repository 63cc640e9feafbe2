//! Nsqlookupds that are dead, hang, lie, or are none: nobody waits for them who has no new topic.

use std::time::{Duration, Instant};

use super::lookupd::Lookupd;
use super::on_each_lookupd;
use super::scripted::{Http, Script, Scripted};
use crate::harness::{Broker, Client, Peer, SOON, eventually, rss_bytes};

const SCRIPTS: [Script; 8] = [
    Script::Silent,
    Script::Deaf,
    Script::Closing,
    Script::Garbage,
    Script::Endless,
    Script::Refusing,
    Script::Chatty,
    Script::Slow,
];

const HTTP_SCRIPTS: [Http; 5] =
    [Http::Silent, Http::Garbage, Http::Shape, Http::Names, Http::Endless];

/// How long nsqlookupds are waited for where a topic is new.
const PATIENCE: Duration = Duration::from_secs(2);
/// Round trips that are measured.
const ROUNDS: usize = 2000;

/// Publishes one message at a time and takes it back, to each broker in turn, so that all see the
/// same load of the machine. For each, what 99 of 100 publishes took at most.
fn round_trips(brokers: [&Broker; 2], topic: &str) -> [Duration; 2] {
    let mut clients =
        brokers.map(|at| (Client::new(at), Client::consumer(at, topic, "c", 10), Vec::new()));
    for number in 0..ROUNDS {
        for (producer, consumer, times) in &mut clients {
            let start = Instant::now();
            producer.publish(topic, &number.to_be_bytes());
            times.push(start.elapsed());
            let message = consumer.message();
            assert_eq!(message.body, number.to_be_bytes());
            consumer.fin(&message.id);
        }
    }
    clients.map(|(_, _, mut times)| {
        times.sort_unstable();
        times[(times.len() - 1) * 99 / 100]
    })
}

/// All of them at once, with one good nsqlookupd among them.
#[test]
fn bad_lookupds_delay_nothing_but_new_topics() {
    on_each_lookupd(|pair| {
        let good = Lookupd::start(pair.lookupd);
        let bad = SCRIPTS.map(Scripted::start);
        let lying = HTTP_SCRIPTS.map(|http| Scripted::start(Script::Honest(http)));
        let dead = "--lookupd-tcp-address=127.0.0.1:1".to_owned();
        let nowhere = "--lookupd-tcp-address=no.such.host.invalid:4160".to_owned();
        let no_address = "--lookupd-tcp-address=nonsense".to_owned();
        let mut flags = vec![good.flag(), dead, nowhere, no_address];
        flags.extend(bad.iter().chain(&lying).map(Scripted::flag));
        flags.push(format!("--http-client-request-timeout={}ms", PATIENCE.as_millis()));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let calm = Broker::start(pair.nsqd, &[]);
        let broker = Broker::start(pair.nsqd, &flags);
        good.await_nodes(1);
        lying.iter().for_each(Scripted::await_identified);

        // A new topic waits, but not for ever, and the good one is heard.
        good.process.post("/channel/create?topic=t&channel=known");
        let start = Instant::now();
        let mut producer = Client::new(&broker);
        producer.publish("t", b"first");
        assert!(start.elapsed() < PATIENCE, "publishing waited: {:?}", start.elapsed());
        for channel in ["known", "fine"] {
            broker.await_channel("t", channel, "depth", 1);
        }
        let waited = start.elapsed();
        assert!(waited < PATIENCE + Duration::from_secs(2), "a new topic waited for {waited:?}");
        let channels = broker.topic("t")["channels"].as_array().map_or(0, Vec::len);
        assert_eq!(channels, 2, "{}", broker.topic("t"));

        // Existing topics do not notice.
        broker.post("/channel/create?topic=t&channel=c");
        calm.post("/topic/create?topic=t");
        calm.post("/channel/create?topic=t&channel=c");
        let [without, with] = round_trips([&calm, &broker], "t");
        eprintln!("p99 {with:?} with bad nsqlookupds, {without:?} without");
        let most = without * 3 + Duration::from_millis(5);
        assert!(with < most, "p99 {with:?}, without nsqlookupds {without:?}");
        let bytes = rss_bytes(broker.pid());
        assert!(bytes < rss_bytes(calm.pid()) + (64 << 20), "{bytes} bytes");
        good.await_registered(&["t", "t/c", "t/fine", "t/known"]);
        let start = Instant::now();
        broker.stop();
        assert!(start.elapsed() < Duration::from_secs(5), "the stop took {:?}", start.elapsed());
    });
}

/// New topics one after the other, while a nsqlookupd says nothing: they wait side by side.
#[test]
fn new_topics_wait_side_by_side() {
    let silent = Scripted::start(Script::Honest(Http::Silent));
    let patience = format!("--http-client-request-timeout={}ms", PATIENCE.as_millis());
    let broker = Broker::start(Peer::Shoal { shards: 2 }, &[&silent.flag(), &patience]);
    silent.await_identified();
    // One after the other they would wait for more than a minute.
    let topics: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    for topic in &topics {
        broker.post(&format!("/topic/create?topic={topic}"));
        broker.post(&format!("/channel/create?topic={topic}&channel=c"));
        assert_eq!(broker.request("POST", &format!("/pub?topic={topic}"), b"x").status, 200);
    }
    let made = Instant::now();
    for topic in &topics {
        broker.await_channel(topic, "c", "depth", 1);
    }
    assert!(made.elapsed() < PATIENCE + SOON, "after {:?}", made.elapsed());
}

/// Nsqlookupds that cannot be reached cost little, and a nsqlookupd that comes later is found.
#[test]
fn a_lookupd_that_comes_later_is_found() {
    on_each_lookupd(|pair| {
        let lookupd = Lookupd::start(pair.lookupd);
        let (tcp, http) = (lookupd.tcp(), lookupd.http());
        lookupd.process.kill();
        let flag = format!("--lookupd-tcp-address={tcp}");
        let broker = Broker::start(pair.nsqd, &[&flag]);
        let start = Instant::now();
        assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
        broker.post("/channel/create?topic=t&channel=c");
        broker.await_channel("t", "c", "depth", 1);
        assert!(start.elapsed() < Duration::from_secs(3), "nobody could be asked");
        let lookupd = Lookupd::start_at(pair.lookupd, tcp, http);
        eventually("it is registered", SOON, || lookupd.registered().len() == 2);
    });
}
