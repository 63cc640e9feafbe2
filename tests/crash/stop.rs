//! SIGTERM loses nothing in any mode, whatever state a message is in, and the state is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{numbered, publish_all, start};
use crate::harness::{
    Broker, Client, Frame, Message, Peer, SOON, TempDir, at_once, dpub, eventually, on_each_peer,
};

/// Deferred messages are due so long after they were deferred.
const DUE: Duration = Duration::from_secs(6);
/// How early and how late they may come when a restart lies between.
const EARLY: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(2);
const COUNT: usize = 20;

/// A broker with a message in every state there is, to be stopped and started.
struct Case {
    peer: Peer,
    /// When the last deferred message was deferred, and a moment before the first one was.
    deferred: Option<(Instant, Instant)>,
}

impl Case {
    /// The original counts an attempt of what it takes back when it stops, and forgets delays.
    fn is_original(&self) -> bool {
        self.peer.is_original()
    }

    fn fill(&mut self, broker: &Broker) {
        let mut client = Client::new(broker);
        for (topic, channel) in [
            ("ready", "c"),
            ("ready", "gone%23ephemeral"),
            ("flight", "c"),
            ("later", "c"),
            ("again", "c"),
            ("channel-paused", "c"),
            ("topic-paused", "c"),
            ("gone%23ephemeral", "c"),
        ] {
            broker.post(&format!("/topic/create?topic={topic}"));
            broker.post(&format!("/channel/create?topic={topic}&channel={channel}"));
        }
        broker.post("/channel/pause?topic=channel-paused&channel=c");
        broker.post("/topic/pause?topic=topic-paused");
        for topic in ["ready", "flight", "channel-paused", "topic-paused", "bare", "gone#ephemeral"]
        {
            publish_all(&mut client, topic, &numbered(topic, COUNT));
        }
        broker.await_channel("ready", "c", "depth", COUNT as i64);
        self.finish_some(broker);
        self.give_back(broker);
        self.defer(broker, &mut client);
    }

    /// Three messages of `ready` are finished: they must not come again.
    fn finish_some(&self, broker: &Broker) {
        let mut consumer = Client::consumer(broker, "ready", "c", 1);
        for _ in 0..3 {
            let id = consumer.message().id;
            consumer.fin(&id);
        }
        // The fourth comes, and goes back when the connection ends: it is ready once more.
        consumer.message();
        consumer.command("CLS");
    }

    /// Those of `again` are given back at once, and wait.
    fn give_back(&self, broker: &Broker) {
        let mut client = Client::consumer(broker, "again", "c", COUNT as u32);
        publish_all(&mut Client::new(broker), "again", &numbered("again", COUNT));
        let messages: Vec<Message> = (0..COUNT).map(|_| client.message()).collect();
        client.command("RDY 0");
        client.alive();
        for message in &messages {
            client.req(&message.id, 0);
        }
        client.alive();
        broker.await_channel("again", "c", "depth", COUNT as i64);
    }

    /// Half of `later` is published with a delay, and half is given back with one; two of each for
    /// much later.
    fn defer(&mut self, broker: &Broker, client: &mut Client) {
        let mut consumer = Client::consumer(broker, "later", "c", 100);
        publish_all(client, "later", &numbered("requeued", COUNT));
        let messages: Vec<Message> = (0..COUNT).map(|_| consumer.message()).collect();
        let before = Instant::now();
        let delay = |number: usize| if number < 2 { 60_000 } else { DUE.as_millis() as u64 };
        for message in messages {
            let number = message.text().split(' ').nth(1).unwrap().parse().unwrap();
            consumer.req(&message.id, delay(number));
        }
        for (number, body) in numbered("deferred", COUNT).iter().enumerate() {
            client.send(&dpub("later", delay(number), body.as_bytes()));
            client.ok();
        }
        broker.await_channel("later", "c", "deferred_count", 2 * COUNT as i64);
        self.deferred = Some((before, Instant::now()));
    }

    fn check(&self, broker: &Broker) {
        assert!(broker.topic("gone#ephemeral").is_null());
        assert!(broker.channel("ready", "gone#ephemeral").is_null());
        let started = Instant::now();
        let count = broker.channel("later", "c")["deferred_count"].as_u64().unwrap();
        if !self.is_original() && Instant::now() + EARLY < self.deferred.unwrap().0 + DUE {
            assert_eq!(count, 2 * COUNT as u64);
        }
        let mut later = Client::consumer(broker, "later", "c", 100);
        let ready = attempts(broker, "ready", COUNT - 3);
        let twice = ready.values().filter(|attempts| **attempts == 2).count();
        assert_eq!(twice, 1, "{ready:?}");
        for (topic, wanted) in [("flight", 2), ("again", 2), ("bare", 1)] {
            let found = attempts(broker, topic, COUNT);
            assert!(found.values().all(|attempts| *attempts == wanted), "{topic}: {found:?}");
        }
        for (topic, unpause) in [
            ("channel-paused", "/channel/unpause?topic=channel-paused&channel=c"),
            ("topic-paused", "/topic/unpause?topic=topic-paused"),
        ] {
            let mut waiting = Client::consumer(broker, topic, "c", 100);
            waiting.silent(Duration::from_millis(200));
            broker.post(unpause);
            let found = take(&mut waiting, broker, topic, COUNT);
            assert!(found.values().all(|attempts| *attempts == 1), "{topic}: {found:?}");
        }
        self.check_later(&mut later, broker, started);
    }

    /// Neither too early nor too late, and how often they came before is remembered.
    fn check_later(&self, consumer: &mut Client, broker: &Broker, started: Instant) {
        let (first, last) = self.deferred.unwrap();
        let latest = started.max(last + DUE) + LATE;
        let mut found = BTreeMap::new();
        let wanted = if self.is_original() { 2 * COUNT } else { 2 * COUNT - 4 };
        while found.len() < wanted {
            let message = consumer.message_within(DUE + SOON);
            let now = Instant::now();
            if !self.is_original() {
                assert!(now + EARLY >= first + DUE, "{} ms early", (first + DUE - now).as_millis());
                assert!(now <= latest, "late by {:?}", now - latest + LATE);
            }
            consumer.fin(&message.id);
            let previous = found.insert(message.text().to_string(), message.attempts);
            assert_eq!(previous, None, "{} came twice", message.text());
        }
        for (body, attempts) in &found {
            let before = if body.starts_with("requeued") { 1 } else { 0 };
            assert_eq!(*attempts, before + 1, "{body}");
        }
        consumer.silent(Duration::from_millis(300));
        let far = if self.is_original() { 0 } else { 4 };
        assert_eq!(broker.channel("later", "c")["deferred_count"], far);
    }
}

/// Takes all messages of a topic's channel `c`: each must come once. Gives their attempts.
fn attempts(broker: &Broker, topic: &str, count: usize) -> BTreeMap<String, u16> {
    take(&mut Client::consumer(broker, topic, "c", 100), broker, topic, count)
}

fn take(
    consumer: &mut Client,
    broker: &Broker,
    topic: &str,
    count: usize,
) -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    while found.len() < count {
        let Ok(Frame::Message(message)) = consumer.next(SOON) else {
            panic!("{topic}: only {} came: {found:?}", found.len());
        };
        let body = message.text().to_string();
        assert!(body.starts_with(topic), "{body} came out of {topic}");
        assert_eq!(found.insert(body.clone(), message.attempts), None, "{body} came twice");
        consumer.fin(&message.id);
    }
    consumer.silent(Duration::from_millis(100));
    eventually("all are finished", SOON, || broker.channel(topic, "c")["in_flight_count"] == 0);
    found
}

/// Fills a broker, stops it once or twice, and looks at what is there then.
fn stop_and_look(peer: Peer, mode: &'static str, stops: usize) {
    // The original's way to be durable has no room for deferred messages.
    let mode = if peer.is_original() { "memory" } else { mode };
    let mut case = Case { peer, deferred: None };
    let mut broker = start(peer, mode, Arc::new(TempDir::new()));
    case.fill(&broker);
    let mut holding = Client::consumer(&broker, "flight", "c", COUNT as u32);
    for _ in 0..COUNT {
        holding.message();
    }
    for _ in 0..stops {
        let dir = broker.stop();
        broker = start(peer, mode, dir);
    }
    case.check(&broker);
}

/// Each mode keeps its promise, and the second restart, which reads what the first one wrote.
#[test]
fn sigterm() {
    on_each_peer(|peer| {
        at_once(&[
            &|| stop_and_look(peer, "memory", 1),
            &|| stop_and_look(peer, "written", 1),
            &|| stop_and_look(peer, "synced", 1),
            &|| stop_and_look(peer, "written", 3),
        ]);
    });
}

/// A mode of its own for a topic holds for that topic: one is kept by a crash, the other is not.
#[test]
fn a_mode_per_topic() {
    crate::harness::on_each_shoal("the original has one mode", |peer| {
        let flags = ["--durability=memory", "--topic-durability=kept=written"];
        let broker = Broker::start(peer, &flags);
        let mut client = Client::new(&broker);
        for topic in ["kept", "lost"] {
            broker.post(&format!("/topic/create?topic={topic}"));
            broker.post(&format!("/channel/create?topic={topic}&channel=c"));
            publish_all(&mut client, topic, &numbered(topic, COUNT));
        }
        // Long enough for the topics themselves to be remembered.
        thread::sleep(Duration::from_millis(200));
        let broker = Broker::start_in(peer, &flags, broker.kill());
        attempts(&broker, "kept", COUNT);
        Client::consumer(&broker, "lost", "c", 10).silent(Duration::from_millis(300));
    });
}

/// SIGTERM amid publishing: every message that was acknowledged is there afterwards.
#[test]
fn sigterm_amid_publishing() {
    on_each_peer(|peer| {
        for mode in ["memory", "written", "synced"] {
            let broker = start(peer, mode, Arc::new(TempDir::new()));
            broker.post("/topic/create?topic=t");
            broker.post("/channel/create?topic=t&channel=c");
            let address = broker.tcp;
            let publishing = thread::spawn(move || publish_until_closed(address));
            thread::sleep(Duration::from_millis(300));
            let dir = broker.stop();
            let (sent, acknowledged) = publishing.join().unwrap();
            assert!(acknowledged > 10, "{mode}: only {acknowledged} before the stop");
            let broker = start(peer, mode, dir);
            let mut consumer = Client::consumer(&broker, "t", "c", 2000);
            let found = consumer.drain(Duration::from_secs(1));
            let mut numbers: Vec<usize> =
                found.iter().map(|message| message.text().parse().unwrap()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), found.len(), "{mode}: some came twice");
            assert!(found.len() <= sent);
            let wanted: Vec<usize> = (0..acknowledged).collect();
            assert_eq!(numbers[..acknowledged.min(numbers.len())], wanted[..], "{mode}");
        }
    });
}

/// Publishes the numbers from 0, a few ahead of their answers, at most as many as a consumer
/// takes at once; gives how many were sent and how many acknowledged.
fn publish_until_closed(address: std::net::SocketAddr) -> (usize, usize) {
    let mut client = Client::try_new(address).unwrap();
    let (mut sent, mut acknowledged) = (0, 0);
    while sent < 1900 {
        let all: Vec<u8> = (sent..sent + 10)
            .flat_map(|number| crate::harness::publish("t", number.to_string().as_bytes()))
            .collect();
        if !client.try_send(&all) {
            return (sent, acknowledged);
        }
        sent += 10;
        while acknowledged < sent {
            match client.next(SOON) {
                Ok(frame) if frame.describe() == "OK" => acknowledged += 1,
                _ => return (sent, acknowledged),
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    (sent, acknowledged)
}
