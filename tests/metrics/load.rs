//! The same totals wherever they are asked for, while and after messages flow over all shards.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use super::ONLY_OURS;
use super::page::Page;
use crate::harness::{Broker, Client, Frame, SOON, eventually, mpub, on_each_shoal};
use crate::statsd::receiver::Receiver;

const TOPICS: usize = 6;
const BATCHES: usize = 30;
const BATCH: usize = 20;
const MESSAGES: usize = BATCHES * BATCH;

/// Publishes to a topic, consumes most of it, puts every tenth message off once.
fn work(broker: &Broker, topic: &str) {
    let mut consumer = Client::consumer(broker, topic, "c", 50);
    broker.post(&format!("/channel/create?topic={topic}&channel=idle"));
    let mut producer = Client::new(broker);
    let bodies: Vec<&[u8]> = vec![b"0123456789"; BATCH];
    for _ in 0..BATCHES {
        producer.send(&mpub(topic, &bodies));
        producer.ok();
    }
    let mut finished = 0;
    let mut seen = 0;
    while finished < MESSAGES {
        let Frame::Message(message) = consumer.frame() else { continue };
        seen += 1;
        if message.attempts == 1 && seen % 10 == 0 {
            consumer.req(&message.id, 0);
        } else {
            consumer.fin(&message.id);
            finished += 1;
        }
    }
}

/// Numbers of one channel: messages, requeues, timeouts, depth, in flight, consumers.
type Numbers = [i64; 6];

fn of_stats(stats: &Value, topic: &str, channel: &str) -> Numbers {
    let topics = stats["topics"].as_array().unwrap();
    let topic = topics.iter().find(|found| found["topic_name"] == topic).unwrap();
    let channels = topic["channels"].as_array().unwrap();
    let channel = channels.iter().find(|found| found["channel_name"] == channel).unwrap();
    ["message_count", "requeue_count", "timeout_count", "depth", "in_flight_count", "client_count"]
        .map(|field| channel[field].as_i64().unwrap())
}

/// The same in the text that people read.
fn of_text(text: &str, topic: &str, channel: &str) -> Numbers {
    let of_topic = text.lines().skip_while(|line| {
        !line
            .trim_start()
            .strip_prefix('[')
            .is_some_and(|name| name.trim_start().starts_with(topic))
    });
    let head = |line: &&str| line.trim_start().strip_prefix('[').map(str::to_owned);
    let named = |line: &&str| {
        head(line).is_some_and(|name| name.split(']').next().unwrap().trim() == channel)
    };
    let mut lines = of_topic.skip(1);
    let line = lines.by_ref().find(named).unwrap_or_else(|| panic!("{topic}/{channel}: {text}"));
    let number = |field: &str| -> i64 {
        let rest = line.split_once(&format!(" {field}: ")).unwrap_or_else(|| panic!("{line}")).1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    // Consumers have lines of their own, below.
    let clients = lines.take_while(|line| line.starts_with("        ")).count();
    let clients = i64::try_from(clients).unwrap();
    [number("msgs"), number("re-q"), number("timeout"), number("depth"), number("inflt"), clients]
}

/// How many messages are shown in a state, each once.
fn seen(broker: &Broker, topic: &str, channel: &str, state: &str) -> i64 {
    let target =
        format!("/channel/messages?topic={topic}&channel={channel}&state={state}&limit=100");
    let reply = broker.request("GET", &target, b"");
    assert_eq!(reply.status, 200, "{reply:?}");
    let messages = reply.json()["messages"].as_array().unwrap().clone();
    let ids: BTreeSet<&str> = messages.iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), messages.len(), "{topic}/{channel} {state}");
    ids.len() as i64
}

fn of_page(page: &Page, topic: &str, channel: &str) -> Numbers {
    let labels = [("topic", topic), ("channel", channel)];
    ["messages_total", "requeues_total", "timeouts_total", "depth", "in_flight_count", "clients"]
        .map(|name| page.value(&format!("nsq_topic_channel_{name}"), &labels) as i64)
}

fn of_statsd(found: &Receiver, topic: &str, channel: &str) -> Option<Numbers> {
    let names =
        ["message_count", "requeue_count", "timeout_count", "depth", "in_flight_count", "clients"];
    let name = |name| found.get(&format!("topic.{topic}.channel.{channel}.{name}"));
    let found: Vec<i64> = names.into_iter().filter_map(name).collect();
    found.try_into().ok()
}

#[test]
fn totals_agree_everywhere() {
    on_each_shoal(ONLY_OURS, |peer| {
        let mut receiver = Receiver::new();
        let address = format!("--statsd-address={}", receiver.address());
        let flags =
            [&address, "--statsd-interval=2s", "--statsd-prefix=", "--statsd-mem-stats=false"];
        let broker = Broker::start(peer, &flags);
        let topics: Vec<String> = (0..TOPICS).map(|number| format!("t{number}")).collect();
        thread::scope(|scope| {
            let workers: Vec<_> =
                topics.iter().map(|topic| scope.spawn(|| work(&broker, topic))).collect();
            // Numbers only rise, and pages stay sound, while they change.
            let mut before = 0.0;
            while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                let now =
                    Page::of(&broker, "?detail=clients,shards").sum("nsq_topic_messages_total");
                assert!(now >= before, "{now} after {before}");
                before = now;
                for topic in &topics {
                    look(&broker, topic);
                }
            }
        });
        eventually("everything is at rest", SOON, || {
            let stats = broker.request("GET", "/stats?format=json", b"").json();
            topics.iter().all(|topic| of_stats(&stats, topic, "c")[4..] == [0, 0])
        });
        let stats = broker.request("GET", "/stats?format=json&include_clients=false", b"").json();
        let text = broker.request("GET", "/stats?format=text", b"").text().to_owned();
        let page = Page::of(&broker, "");
        for topic in &topics {
            let messages = MESSAGES as i64;
            for (channel, depth) in [("c", 0), ("idle", messages)] {
                let numbers = of_stats(&stats, topic, channel);
                assert_eq!(of_page(&page, topic, channel), numbers, "{topic}/{channel}");
                assert_eq!(of_text(&text, topic, channel), numbers, "{topic}/{channel}");
                let shown = seen(&broker, topic, channel, "ready");
                assert_eq!(shown, depth.min(100), "{topic}/{channel}");
                assert_eq!((numbers[0], numbers[3]), (messages, depth), "{topic}/{channel}");
                receiver.until("statsd says the same", |found| {
                    of_statsd(found, topic, channel) == Some(numbers)
                });
            }
            let requeued = of_stats(&stats, topic, "c")[1];
            assert!(requeued > 0, "{topic}");
            let finished = page
                .value("nsq_topic_channel_finishes_total", &[("topic", topic), ("channel", "c")]);
            assert_eq!(finished as usize, MESSAGES);
        }
        let total = (TOPICS * MESSAGES) as f64;
        assert_eq!(page.sum("nsq_topic_messages_total"), total);
        assert_eq!(page.sum("nsq_topic_message_bytes_total"), 10.0 * total);
    });
}

/// Looking changes nothing and ends, also while everything moves.
fn look(broker: &Broker, topic: &str) {
    for state in ["ready", "inflight", "deferred"] {
        let target = format!("/channel/messages?topic={topic}&channel=c&state={state}&limit=50");
        let reply = broker.request("GET", &target, b"");
        // The topic or its channel may not be there yet.
        assert!(matches!(reply.status, 200 | 404 | 503), "{reply:?}");
        if reply.status == 200 {
            assert!(reply.json()["messages"].as_array().unwrap().len() <= 50);
        }
    }
}

/// In each state as many messages are shown as are counted, wherever that is told.
#[test]
fn what_is_shown_is_what_is_counted() {
    on_each_shoal(ONLY_OURS, |peer| {
        let broker = Broker::start(peer, &["--msg-timeout=10m"]);
        let topics: Vec<String> = (0..TOPICS).map(|number| format!("t{number}")).collect();
        let consumers: Vec<Client> =
            topics.iter().map(|topic| in_all_states(&broker, topic)).collect();
        eventually("everything has its state", SOON, || {
            topics.iter().all(|topic| {
                let stats = broker.channel(topic, "c");
                let field = |name: &str| stats[name].as_i64();
                let found = ["depth", "in_flight_count", "deferred_count"].map(field);
                found == [Some(35), Some(25), Some(20)]
            })
        });
        let page = Page::of(&broker, "");
        for topic in &topics {
            let labels = [("topic", topic.as_str()), ("channel", "c")];
            for (state, name, count) in [
                ("ready", "depth", 35),
                ("inflight", "in_flight_count", 25),
                ("deferred", "deferred_count", 20),
            ] {
                let told = page.value(&format!("nsq_topic_channel_{name}"), &labels);
                let shown = seen(&broker, topic, "c", state);
                assert_eq!((told as i64, shown), (count, count), "{topic} {state}");
            }
        }
        drop(consumers);
    });
}

/// A channel with 25 messages in flight, 35 that are ready and 20 that are deferred.
fn in_all_states(broker: &Broker, topic: &str) -> Client {
    let mut consumer = Client::consumer(broker, topic, "c", 25);
    let mut producer = Client::new(broker);
    producer.send(&mpub(topic, &[&b"now"[..]; 60]));
    producer.ok();
    for _ in 0..20 {
        producer.publish_deferred(topic, 600_000, b"later");
    }
    (0..25).for_each(|_| drop(consumer.message()));
    consumer
}
