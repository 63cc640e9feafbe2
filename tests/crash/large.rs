//! What takes minutes: much on the disk, much in memory. For `make test-long`; `LONG_MESSAGES` says
//! how many messages a backlog has.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::random::number;
use crate::harness::{
    Broker, Client, SOON, TempDir, dpub, eventually, mpub, on_each_shoal, rss_bytes,
};

const BODY: [u8; 200] = [b'x'; 200];
const BATCH: usize = 500;
const READY: u32 = 2500;
const MIB: u64 = 1 << 20;
/// Size at which a store file is full.
const STORE_BYTES: u64 = 8 * MIB;
/// A journal file.
const JOURNAL_BYTES: u64 = 16 * MIB;

fn messages() -> usize {
    number("LONG_MESSAGES", 2_000_000) as usize
}

/// Publishes so many messages, a few batches ahead of their answers.
fn fill(broker: &Broker, topic: &str, count: usize) {
    let mut client = Client::new(broker);
    let batch = mpub(topic, &[&BODY[..]; BATCH]);
    for sent in 0..count.div_ceil(BATCH) {
        client.send(&batch);
        if sent >= 8 {
            client.ok();
        }
    }
    (0..8.min(count.div_ceil(BATCH))).for_each(|_| client.ok());
}

/// Takes so many messages and finishes them.
fn drain(broker: &Broker, topic: &str, channel: &str, count: usize) {
    let mut consumer = Client::consumer(broker, topic, channel, READY);
    let mut finishes = Vec::new();
    for taken in 1..=count {
        let message = consumer.message_within(6 * SOON);
        finishes.extend_from_slice(format!("FIN {}\n", message.id).as_bytes());
        if taken % 500 == 0 || taken == count {
            consumer.send(&finishes);
            finishes.clear();
        }
    }
}

/// Makes a topic with so many channels `c0`, `c1` and so on.
fn furnish(broker: &Broker, topic: &str, channels: usize) {
    broker.post(&format!("/topic/create?topic={topic}"));
    for channel in 0..channels {
        broker.post(&format!("/channel/create?topic={topic}&channel=c{channel}"));
    }
}

/// Bytes that the process had written to disks, or cancelled before.
fn written_bytes(broker: &Broker) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", broker.pid())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

/// Bytes of the files of a kind in a data path.
fn file_bytes(dir: &TempDir, ending: &str) -> u64 {
    let files = fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == ending));
    files.filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
#[ignore = "takes a minute"]
fn a_backlog_beyond_memory_takes_no_memory() {
    on_each_shoal("its own way of doing it", |peer| {
        let broker = Broker::start(peer, &["--memory-limit=256MB"]);
        furnish(&broker, "t", 1);
        fill(&broker, "t", messages());
        let full = rss_bytes(broker.pid());
        drain(&broker, "t", "c0", messages());
        let most = full.max(rss_bytes(broker.pid()));
        eprintln!("{peer:?}: {} MiB at most", most / MIB);
        assert!(most < 400_000_000, "{most} bytes");
        broker.await_channel("t", "c0", "depth", 0);
    });
}

#[test]
#[ignore = "takes a minute"]
fn channels_that_lag_write_the_bytes_once() {
    on_each_shoal("the original writes a copy for each", |peer| {
        let written = [1, 8].map(|channels| {
            let broker = Broker::start(peer, &["--memory-limit=64MB"]);
            furnish(&broker, "t", channels);
            fill(&broker, "t", messages());
            written_bytes(&broker)
        });
        eprintln!("{peer:?}: {written:?} bytes");
        assert!(written[1] < written[0] + written[0] / 10, "{written:?}");
    });
}

/// What one message keeps on the disk is little, however much it once lay among.
#[test]
#[ignore = "takes a minute"]
fn one_deferred_message_does_not_hold_what_it_lay_among() {
    on_each_shoal("the original keeps it in memory", |peer| {
        let size = format!("--max-bytes-per-file={STORE_BYTES}");
        let flags = ["--max-defer-time=48h", "--memory-limit=64MB", &size];
        let broker = Broker::start(peer, &flags);
        furnish(&broker, "t", 1);
        fill(&broker, "t", messages() / 2);
        let mut client = Client::new(&broker);
        client.publish_deferred("t", 86_400_000, b"tomorrow");
        fill(&broker, "t", messages() / 2);
        drain(&broker, "t", "c0", messages() / BATCH * BATCH);
        let dir = broker.dir();
        // The file with the message, the one that is written to, and no other.
        let few = 2 * (STORE_BYTES + MIB);
        eventually("files are let go", 6 * SOON, || file_bytes(&dir, "store") < few);
        assert_eq!(broker.channel("t", "c0")["deferred_count"], 1);
        // Those in use may grow a little over their size, and some are kept to be used again.
        let journals = file_bytes(&dir, "journal") + file_bytes(&dir, "spare");
        assert!(journals < 24 * JOURNAL_BYTES, "{journals} bytes of journals");
        let broker = Broker::start_in(peer, &flags, broker.kill());
        broker.await_channel("t", "c0", "deferred_count", 1);
    });
}

#[test]
#[ignore = "takes a minute; for a release build"]
fn quiet_topics_take_little_memory() {
    on_each_shoal("the original has a goroutine for each", |peer| {
        let broker = Broker::start(peer, &[]);
        let topics = 10_000;
        for topic in 0..topics {
            furnish(&broker, &format!("t{topic}"), 1);
        }
        let broker = Broker::start_in(peer, &[], broker.stop());
        let mut client = Client::new(&broker);
        for topic in 0..topics {
            client.send(&mpub(&format!("t{topic}"), &[&BODY[..]; 3]));
            client.ok();
        }
        thread::sleep(Duration::from_secs(1));
        let rss = rss_bytes(broker.pid());
        eprintln!("{peer:?}: {rss} bytes");
        assert!(rss < 100_000_000, "{rss} bytes");
    });
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A million that wait hold nothing up that is due.
#[test]
#[ignore = "measures"]
fn deferred_messages_are_punctual() {
    are_punctual("");
}

/// The same where every limit is looked at.
#[test]
#[ignore = "measures"]
fn deferred_messages_within_limits_are_punctual() {
    are_punctual("max_messages=100000000&max_bytes=1TB&max_age=720h");
}

fn are_punctual(limits: &str) {
    on_each_shoal("for comparison only", |peer| {
        let broker = Broker::start(peer, &["--max-defer-time=48h"]);
        furnish(&broker, "t", 1);
        if !limits.is_empty() {
            broker.post(&format!("/topic/config?topic=t&{limits}&on_full=drop-oldest"));
            let more = "max_attempts=9&retry_backoff=1s,9s&dead_letter_topic=dead";
            let target = format!("/channel/config?topic=t&channel=c0&{limits}&{more}");
            broker.post(&format!("{target}&on_full=dead-letter"));
        }
        let mut client = Client::new(&broker);
        let far: Vec<u8> =
            (0..1000).flat_map(|at| dpub("t", 3_600_000 + at * 7919, &BODY)).collect();
        for _ in 0..1000 {
            client.send(&far);
            (0..1000).for_each(|_| client.ok());
        }
        let count: u64 = 10_000;
        let mut consumer = Client::consumer(&broker, "t", "c0", READY);
        for at in 0..count {
            let delay_ms = 2000 + at * 7919 % 8000;
            client.send(&dpub("t", delay_ms, (now_ms() + delay_ms).to_string().as_bytes()));
            client.ok();
        }
        let mut late: Vec<u64> = (0..count)
            .map(|_| {
                let message = consumer.message_within(2 * SOON);
                consumer.fin(&message.id);
                now_ms().checked_sub(message.text().parse().unwrap()).expect("none is early")
            })
            .collect();
        late.sort_unstable();
        let at = |percent: usize| late[late.len() * percent / 100];
        eprintln!("{peer:?}: ms late: {} p50, {} p99, {:?} at most", at(50), at(99), late.last());
        assert!(at(99) < 50, "{} ms late", at(99));
    });
}
