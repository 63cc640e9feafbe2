//! What is kept though it is finished, and given again: to new channels, and to old ones that are
//! moved.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Broker, Client, Peer, SOON, TempDir, eventually, mpub, on_each_shoal};

const REASON: &str = "the original forgets what is finished";
const QUIET: Duration = Duration::from_millis(300);

fn start(peer: Peer, flags: &[&str]) -> Broker {
    let broker = Broker::start(peer, flags);
    broker.post("/topic/create?topic=t");
    broker.post("/channel/create?topic=t&channel=c");
    broker
}

fn keeping(peer: Peer) -> Broker {
    start(peer, &["--retention-bytes=1GB"])
}

fn again(peer: Peer, dir: Arc<TempDir>) -> Broker {
    Broker::start_in(peer, &["--retention-bytes=1GB"], dir)
}

fn publish(broker: &Broker, bodies: std::ops::Range<u32>) {
    let mut producer = Client::new(broker);
    bodies.for_each(|number| producer.publish("t", number.to_string().as_bytes()));
}

/// Takes so many messages off a channel, in order; what they say and their ids.
fn take(broker: &Broker, channel: &str, count: usize) -> Vec<(u32, String)> {
    let mut consumer = Client::consumer(broker, "t", channel, 100);
    let messages = (0..count).map(|_| {
        let message = consumer.message();
        assert_eq!(message.attempts, 1, "{}", message.text());
        consumer.fin(&message.id);
        (message.text().parse().unwrap(), message.id)
    });
    let messages = messages.collect();
    consumer.silent(Duration::from_millis(50));
    broker.await_channel("t", channel, "in_flight_count", 0);
    drop(consumer);
    // While it is there, it would get what a seek brings back.
    broker.await_channel("t", channel, "client_count", 0);
    messages
}

fn bodies(messages: &[(u32, String)]) -> Vec<u32> {
    messages.iter().map(|(body, _)| *body).collect()
}

/// A request that is answered with JSON.
fn ask(broker: &Broker, target: &str) -> Value {
    let reply = broker.request("POST", target, b"");
    assert_eq!(reply.status, 200, "{target}: {reply:?}");
    reply.json()
}

fn seek(broker: &Broker, to: &str) -> Value {
    ask(broker, &format!("/channel/seek?topic=t&channel=c&to={to}"))
}

fn now() -> String {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    rfc3339(since.as_secs(), since.subsec_millis())
}

/// A time as RFC 3339 has it.
fn rfc3339(seconds: u64, ms: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years from March on, so that a leap day is the last one.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[test]
fn a_channel_goes_back_and_forth() {
    on_each_shoal(REASON, |peer| {
        let broker = keeping(peer);
        publish(&broker, 0..20);
        let first = take(&broker, "c", 20);
        assert_eq!(broker.channel("t", "c")["depth"], 0);
        let dry = seek(&broker, &format!("{}&dry_run=true", first[5].1));
        let wanted = json!({
            "topic": "t", "channel": "c", "dry_run": true, "direction": "backward",
            "messages_min": 15, "messages_max": 15, "clamped": false,
        });
        assert_eq!(dry, wanted);
        assert_eq!(broker.channel("t", "c")["depth"], 0, "a dry run moves nothing");
        assert_eq!(seek(&broker, &first[5].1)["messages_max"], 15);
        assert_eq!(broker.channel("t", "c")["depth"], 15);
        let second = take(&broker, "c", 15);
        assert_eq!(second, first[5..], "the same messages, their ids included");
        assert_eq!(seek(&broker, "earliest")["messages_max"], 20);
        let skipped = seek(&broker, &first[18].1);
        assert_eq!(skipped["direction"], "forward");
        assert_eq!((&skipped["messages_min"], &skipped["messages_max"]), (&18.into(), &18.into()));
        assert_eq!(bodies(&take(&broker, "c", 2)), [18, 19]);
        seek(&broker, "earliest");
        assert_eq!(seek(&broker, "latest")["messages_max"], 20);
        assert_eq!(broker.channel("t", "c")["depth"], 0);
        publish(&broker, 20..21);
        assert_eq!(bodies(&take(&broker, "c", 1)), [20]);
    });
}

/// Whatever ends the broker: what is kept, and where channels stand.
#[test]
fn over_restarts_and_kills() {
    on_each_shoal(REASON, |peer| {
        let mut broker = keeping(peer);
        publish(&broker, 0..30);
        let first = take(&broker, "c", 30);
        for round in 0..4 {
            let dir = if round % 2 == 0 { broker.kill() } else { broker.stop() };
            broker = again(peer, dir);
            assert_eq!(broker.channel("t", "c")["depth"], 0, "what is finished stays so");
            assert_eq!(seek(&broker, "earliest")["messages_max"], 30);
            let dir = if round < 2 { broker.kill() } else { broker.stop() };
            broker = again(peer, dir);
            assert_eq!(broker.channel("t", "c")["depth"], 30);
            seek(&broker, &first[29].1);
            broker = again(peer, broker.kill());
            assert_eq!(bodies(&take(&broker, "c", 1)), [29]);
            let channel = format!("late{round}");
            let target = format!("/channel/create?topic=t&channel={channel}&from={}", first[10].1);
            assert_eq!(ask(&broker, &target)["messages_max"], 20);
            broker = again(peer, broker.kill());
            assert_eq!(bodies(&take(&broker, &channel, 20)), (10..30).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_new_channel_starts_where_it_is_told() {
    on_each_shoal(REASON, |peer| {
        let broker = keeping(peer);
        publish(&broker, 0..10);
        thread::sleep(Duration::from_millis(20));
        let noon = now();
        thread::sleep(Duration::from_millis(20));
        publish(&broker, 10..20);
        let first = take(&broker, "c", 20);
        for (channel, from, left) in [
            ("earliest", "earliest", 0..20),
            ("latest", "latest", 20..20),
            ("id", &first[7].1, 7..20),
            ("time", &noon, 10..20),
            ("ancient", "2026-01-01T00:00:00Z", 0..20),
            ("future", "2999-01-01T00:00:00%2B02:00", 20..20),
        ] {
            let target = format!("/channel/create?topic=t&channel={channel}&from={from}");
            let answer = ask(&broker, &target);
            assert_eq!(answer["messages_max"], left.len(), "{channel}: {answer}");
            assert_eq!(answer["messages_min"], left.len(), "{channel}: {answer}");
            assert_eq!(answer["clamped"], channel == "ancient", "{channel}: {answer}");
            let got = take(&broker, channel, left.len());
            assert_eq!(bodies(&got), left.collect::<Vec<_>>(), "{channel}");
        }
        // Segments that are not in memory are looked into as well.
        let broker = again(peer, broker.kill());
        let target = format!("/channel/create?topic=t&channel=cold&from={noon}");
        ask(&broker, &target);
        assert_eq!(bodies(&take(&broker, "cold", 10)), (10..20).collect::<Vec<_>>());
        // The first channel of a topic may leave the backlog alone.
        broker.post("/topic/create?topic=u");
        assert_eq!(broker.request("POST", "/pub?topic=u", b"x").status, 200);
        ask(&broker, "/channel/create?topic=u&channel=new&from=latest");
        assert_eq!(broker.channel("u", "new")["depth"], 0);
        ask(&broker, "/channel/create?topic=u&channel=all&from=earliest");
        assert_eq!(broker.channel("u", "all")["depth"], 1);
    });
}

#[test]
fn what_consumers_have_and_what_is_deferred() {
    on_each_shoal(REASON, |peer| {
        let broker = keeping(peer);
        publish(&broker, 0..4);
        let mut producer = Client::new(&broker);
        producer.publish_deferred("t", 60_000, b"later");
        producer.publish_deferred("t", 1, b"soon");
        let mut consumer = Client::consumer(&broker, "t", "c", 5);
        let held: Vec<_> = (0..5).map(|_| consumer.message()).collect();
        let soon = held.iter().find(|message| message.text() == "soon").unwrap();
        consumer.fin(&soon.id);
        consumer.command("RDY 0");
        let second = held.iter().find(|message| message.text() == "1").unwrap();
        let first = held.iter().find(|message| message.text() == "0").unwrap();
        broker.await_channel("t", "c", "in_flight_count", 4);
        // Back to the second: what the consumer has of that is not its any more.
        seek(&broker, &second.id);
        broker.await_channel("t", "c", "in_flight_count", 1);
        consumer.fin(&second.id);
        consumer.expect(&format!("error: E_FIN_FAILED FIN {} failed ID not in flight", second.id));
        consumer.fin(&first.id);
        broker.await_channel("t", "c", "in_flight_count", 0);
        assert_eq!(broker.channel("t", "c")["deferred_count"], 1, "it still waits for its time");
        consumer.command("RDY 9");
        let mut again: Vec<String> = (0..4).map(|_| consumer.message().text().to_owned()).collect();
        again.sort();
        assert_eq!(again, ["1", "2", "3", "soon"]);
        consumer.silent(Duration::from_millis(100));
        // Forward: all of it is finished, also what waits for its time.
        let forward = seek(&broker, "latest");
        assert_eq!((&forward["messages_min"], &forward["messages_max"]), (&5.into(), &5.into()));
        let stats = broker.channel("t", "c");
        for field in ["depth", "in_flight_count", "deferred_count"] {
            assert_eq!(stats[field], 0, "{field}");
        }
        let broker = again_checked(peer, broker.kill());
        let mut consumer = Client::consumer(&broker, "t", "c", 9);
        consumer.silent(QUIET);
    });
}

fn again_checked(peer: Peer, dir: Arc<TempDir>) -> Broker {
    let broker = again(peer, dir);
    assert_eq!(broker.channel("t", "c")["deferred_count"], 0);
    broker
}

#[test]
fn what_makes_no_sense_is_refused_by_name_and_moves_nothing() {
    on_each_shoal(REASON, |peer| {
        let broker = keeping(peer);
        publish(&broker, 0..3);
        take(&broker, "c", 3);
        for (target, status, text) in [
            ("seek?topic=t&channel=c", 400, "MISSING_ARG_TO"),
            ("seek?topic=t&to=latest", 400, "MISSING_ARG_CHANNEL"),
            ("seek?channel=c&to=latest", 400, "MISSING_ARG_TOPIC"),
            ("seek?topic=none&channel=c&to=latest", 404, "TOPIC_NOT_FOUND"),
            ("seek?topic=t&channel=none&to=latest", 404, "CHANNEL_NOT_FOUND"),
            ("seek?topic=t&channel=c&to=first", 400, "INVALID_ARG_TO: to must be earliest"),
            ("seek?topic=t&channel=c&to=2026-01-01", 400, "INVALID_ARG_TO: to must be"),
            ("seek?topic=t&channel=c&to=", 400, "INVALID_ARG_TO: to must be"),
            ("seek?topic=t&channel=c&to=ffffffffffffffff", 400, "INVALID_ARG_TO: to is the id"),
            ("seek?topic=t&channel=c&to=earliest&to=latest", 400, "INVALID_ARG_TO: to is given"),
            ("seek?topic=t&channel=c&to=earliest&dryrun=true", 400, "INVALID_ARG_DRYRUN: dryrun"),
            ("seek?topic=t&channel=c&to=earliest&dry_run=1", 400, "INVALID_ARG_DRY_RUN: dry_run"),
            ("create?topic=t&channel=c&from=earliest", 400, "INVALID_ARG_FROM: from is for a new"),
            ("create?topic=t&channel=new&from=x", 400, "INVALID_ARG_FROM: from must be"),
            ("create?topic=t&channel=new&from=", 400, "INVALID_ARG_FROM: from must be"),
            ("create?topic=none&channel=new&from=latest", 404, "TOPIC_NOT_FOUND"),
        ] {
            let reply = broker.request("POST", &format!("/channel/{target}"), b"");
            let found = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(reply.status == status && found.starts_with(text), "{target}: {reply:?}");
        }
        assert_eq!(broker.channel("t", "c")["depth"], 0);
        assert!(broker.channel("t", "new").is_null());
        for (settings, parameter) in [
            ("retention_bytes=much", "retention_bytes"),
            ("retention_bytes=-1", "retention_bytes"),
            ("retention_age=5", "retention_age"),
            ("retention_age=-5s", "retention_age"),
            ("retention_age=9000000h", "retention_age"),
        ] {
            let target = format!("/topic/config?topic=t&{settings}");
            let reply = broker.request("POST", &target, b"");
            let text = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            let wanted = format!("INVALID_ARG_{}: {parameter} ", parameter.to_uppercase());
            assert!(reply.status == 400 && text.starts_with(&wanted), "{settings}: {reply:?}");
        }
        broker.post("/topic/create?topic=e%23ephemeral");
        let target = "/topic/config?topic=e%23ephemeral&retention_bytes=1MB";
        assert_eq!(broker.request("POST", target, b"").status, 400);
        let target = "/channel/config?topic=t&channel=c&retention_bytes=1MB";
        assert_eq!(broker.request("POST", target, b"").status, 400, "of topics only");
    });
}

/// Settings are shown and kept, and what is not kept any more is gone from memory and disk.
#[test]
fn as_much_is_kept_as_was_said() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &["--retention-age=7h"]);
        let config = |broker: &Broker| broker.request("GET", "/topic/config?topic=t", b"").json();
        assert_eq!(
            (&config(&broker)["retention_bytes"], &config(&broker)["retention_age"]),
            (&json!(0), &json!("7h"))
        );
        broker.post("/topic/config?topic=t&retention_bytes=4MB&retention_age=0");
        let broker = Broker::start_in(peer, &["--retention-age=7h"], broker.kill());
        assert_eq!(
            (&config(&broker)["retention_bytes"], &config(&broker)["retention_age"]),
            (&json!(4 << 20), &json!("0s"))
        );
        let mut producer = Client::new(&broker);
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        for _ in 0..200 {
            producer.publish("t", &[b'x'; 100_000]);
            let message = consumer.message();
            consumer.fin(&message.id);
        }
        let kept = |broker: &Broker| broker.topic("t")["retained_bytes"].as_u64().unwrap_or(0);
        eventually("no more than that", SOON, || kept(&broker) <= (4 << 20) + (2 << 20));
        assert!(kept(&broker) >= 4 << 20, "{}", kept(&broker));
        let count = seek(&broker, "earliest&dry_run=true")["messages_max"].as_u64().unwrap();
        assert!((40..=75).contains(&count), "{count} messages of 100000 bytes");
        broker.post("/topic/config?topic=t&retention_bytes=0");
        eventually("all is gone", SOON, || broker.topic("t")["retained_bytes"].is_null());
        assert_eq!(seek(&broker, "earliest")["messages_max"], 0);
        // By age: nobody does anything but wait.
        broker.post("/topic/config?topic=t&retention_age=1500ms");
        producer.publish("t", b"young");
        let message = consumer.message();
        consumer.fin(&message.id);
        broker.await_channel("t", "c", "in_flight_count", 0);
        eventually("it is too old", SOON, || {
            seek(&broker, "earliest&dry_run=true")["messages_max"] == 0
        });
    });
}

/// A broker that has next to no memory and keeps everything takes what comes.
#[test]
fn what_is_kept_is_in_nobodys_way() {
    on_each_shoal(REASON, |peer| {
        let flags = ["--retention-bytes=1TB", "--memory-limit=16MB", "--durability=memory"];
        let broker = start(peer, &flags);
        let mut producer = Client::new(&broker);
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        for _ in 0..400 {
            producer.publish("t", &[b'x'; 100_000]);
            let message = consumer.message();
            consumer.fin(&message.id);
        }
        assert_eq!(broker.topic("t")["message_count"], 400);
        let all = seek(&broker, "earliest");
        assert_eq!(all["messages_max"], 400, "the disk has what memory has not");
        for _ in 0..400 {
            let message = consumer.message();
            assert_eq!(message.body.len(), 100_000);
            consumer.fin(&message.id);
        }
        broker.await_channel("t", "c", "in_flight_count", 0);
    });
}

/// Counts messages and finishes them, as fast as they come, until there are so many. How long that
/// took.
fn race(broker: &Broker, count: u64) -> Duration {
    let mut consumer = Client::consumer(broker, "t", "c", 2500);
    consumer.stream().set_read_timeout(Some(6 * SOON)).unwrap();
    let start = Instant::now();
    let (mut seen, mut bytes, mut kept) = (0, vec![0; 1 << 20], 0);
    while seen < count {
        let read = consumer.stream().read(&mut bytes[kept..]).unwrap();
        assert!(read > 0, "the broker closed after {seen}");
        let (mut rest, mut answers) = (&bytes[..kept + read], Vec::new());
        while let Some(size) = rest.first_chunk().map(|size| u32::from_be_bytes(*size) as usize) {
            let Some((frame, behind)) = rest.split_at_checked(4 + size) else { break };
            rest = behind;
            if frame[7] == 2 {
                answers.extend_from_slice(&[b"FIN ", &frame[18..34], b"\n"].concat());
                seen += 1;
            }
        }
        let (from, left) = (kept + read - rest.len(), rest.len());
        bytes.copy_within(from..from + left, 0);
        kept = left;
        consumer.send(&answers);
    }
    start.elapsed()
}

/// Publishes so many messages of 100 bytes, a thousand at a time, or until it is told to stop.
fn flood(broker: &Broker, count: u64, stop: &AtomicBool) {
    let mut producer = Client::new(broker);
    let batch = mpub("t", &[&[b'x'; 100][..]; 1000]);
    for _ in 0..count / 1000 {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        producer.send(&batch);
        producer.ok();
    }
}

/// `SHOAL_TEST_MESSAGES` says how many it are, ten million else.
#[test]
#[ignore = "measures; for a release build"]
fn a_replay_is_half_as_fast_as_what_is_live_at_least() {
    let number = std::env::var("SHOAL_TEST_MESSAGES").ok().map(|text| text.parse().unwrap());
    let count: u64 = number.unwrap_or(10_000_000);
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &["--retention-bytes=1TB"]);
        let (go, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let (live, replayed) = thread::scope(|scope| {
            scope.spawn(|| flood(&broker, count, &go));
            let live = race(&broker, count);
            broker.await_channel("t", "c", "in_flight_count", 0);
            assert_eq!(seek(&broker, "earliest")["messages_max"], count);
            scope.spawn(|| flood(&broker, u64::MAX, &stop));
            let replayed = race(&broker, count);
            stop.store(true, Ordering::Relaxed);
            (live, replayed)
        });
        let ratio = live.as_secs_f64() / replayed.as_secs_f64();
        let rate = |time: Duration| count as f64 / time.as_secs_f64();
        eprintln!(
            "{peer:?}: live {:.0}/s, replayed {:.0}/s: {ratio:.2}",
            rate(live),
            rate(replayed)
        );
        assert!(ratio >= 0.5, "{ratio}");
    });
}
