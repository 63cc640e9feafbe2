//! How much topics and channels may hold, and what happens when it is more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, SOON, TempDir, eventually, on_each_shoal, publish};

const REASON: &str = "the original has no such limits";
/// What one turn takes in at most from ten producers that each have one publish under way, and
/// what was under way besides.
const SLACK: u64 = 40;

fn start(peer: crate::harness::Peer, flags: &[&str]) -> Broker {
    let broker = Broker::start(peer, flags);
    broker.post("/topic/create?topic=t");
    broker.post("/channel/create?topic=t&channel=c");
    broker
}

fn depth(broker: &Broker, channel: &str) -> u64 {
    broker.channel("t", channel)["depth"].as_u64().unwrap()
}

#[test]
fn a_full_channel_refuses_publishes_until_there_is_room() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &[]);
        broker.post("/channel/config?topic=t&channel=c&max_messages=3");
        for _ in 0..3 {
            let reply = broker.request("POST", "/pub?topic=t", b"x");
            assert_eq!(reply.status, 200);
        }
        let reply = broker.request("POST", "/pub?topic=t", b"x");
        assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")), "{reply:?}");
        let text = reply.json()["message"].as_str().unwrap().to_owned();
        let why = "limit reached: channel t/c has max_messages=3";
        assert_eq!(text, format!("LIMIT_REACHED: {why}"));
        let mut producer = Client::new(&broker);
        producer.send(&publish("t", b"x"));
        producer.expect(&format!("error: E_PUB_FAILED PUB failed {why}"));
        producer.closed();
        let stats = broker.topic("t");
        assert_eq!((&stats["rejected_count"], &stats["full"]), (&2.into(), &why.into()));
        assert_eq!(broker.request("GET", "/ping", b"").status, 200, "the broker is well");
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        for _ in 0..3 {
            let message = consumer.message();
            consumer.fin(&message.id);
        }
        broker.await_channel("t", "c", "in_flight_count", 0);
        assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
        assert!(broker.topic("t")["full"].is_null());
    });
}

/// Ten producers for one topic, as fast as they can, against every kind of bound.
#[test]
fn a_bound_is_kept_under_ten_producers() {
    on_each_shoal(REASON, |peer| {
        for (settings, most) in [
            ("max_messages=200", 200),
            ("max_messages=200&on_full=drop-oldest", 200),
            ("max_bytes=20000&on_full=drop-oldest", 20_000 / 142),
            ("max_messages=200&on_full=dead-letter&dead_letter_topic=dead", 200),
        ] {
            let broker = start(peer, &[]);
            broker.post(&format!("/channel/config?topic=t&channel=c&{settings}"));
            let stop = AtomicBool::new(false);
            let (taken, seen) = (AtomicU64::new(0), AtomicU64::new(0));
            thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let Some(mut client) = Client::try_new(broker.tcp) else { continue };
                            while !stop.load(Ordering::Relaxed) {
                                if !client.try_send(&publish("t", &[b'x'; 100])) {
                                    break;
                                }
                                match client.next(SOON) {
                                    Ok(frame) if frame.describe() == "OK" => {
                                        taken.fetch_add(1, Ordering::Relaxed);
                                    }
                                    _ => break,
                                }
                            }
                        }
                    });
                }
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(2) {
                    seen.fetch_max(depth(&broker, "c"), Ordering::Relaxed);
                }
                stop.store(true, Ordering::Relaxed);
            });
            let (taken, seen) = (taken.into_inner(), seen.into_inner());
            assert!(taken >= most, "{settings}: {taken} were taken");
            assert!(seen >= most / 2 && seen <= most + SLACK, "{settings}: {seen} of {most}");
        }
    });
}

/// A channel that nobody reads any more fills up to its bound; the other one misses nothing.
#[test]
fn a_forgotten_channel_is_in_nobodys_way() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &[]);
        broker.post("/channel/create?topic=t&channel=forgotten");
        let settings = "max_messages=50&on_full=drop-oldest";
        broker.post(&format!("/channel/config?topic=t&channel=forgotten&{settings}"));
        let mut consumer = Client::consumer(&broker, "t", "c", 100);
        let mut producer = Client::new(&broker);
        for number in 0..2000_u32 {
            producer.publish("t", &number.to_be_bytes());
            let message = consumer.message();
            assert_eq!(message.body, number.to_be_bytes());
            consumer.fin(&message.id);
        }
        eventually("it keeps its bound", SOON, || depth(&broker, "forgotten") == 50);
        assert_eq!(broker.channel("t", "forgotten")["dropped_count"], 1950);
        assert!(broker.channel("t", "c")["dropped_count"].is_null());
        let broker = Broker::start_in(peer, &[], broker.kill());
        assert_eq!(depth(&broker, "forgotten"), 50, "what was dropped stays so");
        let mut late = Client::consumer(&broker, "t", "forgotten", 100);
        for number in 1950..2000_u32 {
            assert_eq!(late.message().body, number.to_be_bytes(), "the newest are kept");
        }
    });
}

#[test]
fn what_a_full_channel_gives_up_may_be_a_dead_letter() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &[]);
        let settings = "max_messages=2&on_full=dead-letter&dead_letter_topic=dead";
        broker.post(&format!("/channel/config?topic=t&channel=c&{settings}"));
        let mut producer = Client::new(&broker);
        for number in 0..6 {
            producer.publish("t", format!("{number}").as_bytes());
        }
        eventually("the oldest went", SOON, || broker.topic("dead")["depth"] == 4);
        let mut consumer = Client::consumer(&broker, "dead", "d", 10);
        for number in 0..4 {
            assert_eq!(consumer.message().text(), number.to_string());
        }
        assert_eq!(depth(&broker, "c"), 2);
    });
}

#[test]
fn what_is_too_old_goes() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &[]);
        broker.post("/channel/create?topic=t&channel=kept");
        let settings = "max_age=400ms&on_full=drop-oldest";
        broker.post(&format!("/channel/config?topic=t&channel=c&{settings}"));
        let mut producer = Client::new(&broker);
        producer.publish("t", b"old");
        // Nobody does anything: time alone.
        eventually("it is gone", SOON, || depth(&broker, "c") == 0);
        assert_eq!(broker.channel("t", "c")["dropped_count"], 1);
        assert_eq!(depth(&broker, "kept"), 1);
        // A deferred message is as old as the time for which it could be delivered.
        let mut consumer = Client::consumer(&broker, "t", "c", 1);
        producer.publish_deferred("t", 600, b"later");
        let message = consumer.message();
        assert_eq!(message.text(), "later");
        // What comes back too old is not delivered again.
        thread::sleep(Duration::from_millis(450));
        consumer.req(&message.id, 0);
        consumer.silent(Duration::from_millis(100));
        broker.await_channel("t", "c", "dropped_count", 2);
    });
}

/// What came back is not sorted by age: an old message behind a young one goes where the channel
/// says all the same.
#[test]
fn what_came_back_too_old_is_a_dead_letter() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &[]);
        let settings = "max_age=1s&on_full=dead-letter&dead_letter_topic=dead";
        broker.post(&format!("/channel/config?topic=t&channel=c&{settings}"));
        let mut producer = Client::new(&broker);
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        producer.publish("t", b"old");
        let old = consumer.message();
        thread::sleep(Duration::from_millis(600));
        producer.publish("t", b"young");
        let young = consumer.message();
        thread::sleep(Duration::from_millis(450));
        consumer.command("RDY 0");
        consumer.req(&young.id, 0);
        consumer.req(&old.id, 0);
        consumer.command("RDY 10");
        eventually("the old one is dead", SOON, || {
            broker.topic("dead")["depth"].as_u64().is_some_and(|depth| depth > 0)
        });
        assert!(broker.channel("t", "c")["dropped_count"].is_null(), "nothing is dropped");
        let mut letters = Client::consumer(&broker, "dead", "d", 10);
        assert_eq!(letters.message().text(), "old");
    });
}

/// A default that is above what is said of a topic is in nobody's way: the topic's bound holds.
#[test]
fn what_is_said_of_a_topic_is_stronger_than_a_default() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &["--channel-max-messages=5"]);
        broker.post("/topic/config?topic=t&max_messages=2");
        broker.post("/channel/config?topic=t&channel=c&max_age=1h");
        let publish = || broker.request("POST", "/pub?topic=t", b"x").status;
        assert_eq!([(); 3].map(|()| publish()), [200, 200, 503]);
        let target = "/channel/config?topic=t&channel=c&max_messages=3";
        let reply = broker.request("POST", target, b"");
        assert_eq!(reply.status, 400, "what is said is compared: {reply:?}");
        assert!(reply.text().contains("INVALID_ARG_MAX_MESSAGES"), "{reply:?}");
    });
}

/// The flags hold for everything of which nobody says anything else.
#[test]
fn flags_are_defaults() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer, &["--topic-max-messages=4", "--channel-max-messages=2"]);
        broker.post("/channel/config?topic=t&channel=c&max_messages=3");
        let publish = || broker.request("POST", "/pub?topic=t", b"x").status;
        assert_eq!([(); 4].map(|()| publish()), [200, 200, 200, 503]);
        let reply = broker.request("POST", "/channel/config?topic=t&channel=c&max_messages=5", b"");
        assert_eq!(reply.status, 400, "more than its topic may: {reply:?}");
        let reply = broker.request("POST", "/topic/config?topic=t&max_messages=2", b"");
        assert_eq!(reply.status, 400, "less than its channel may: {reply:?}");
        // A topic without channels has its own bound.
        broker.post("/topic/create?topic=alone");
        let publish = || broker.request("POST", "/pub?topic=alone", b"x").status;
        assert_eq!([(); 5].map(|()| publish()), [200, 200, 200, 200, 503]);
    });
}

#[test]
fn a_topic_without_channels_drops_its_oldest() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=t");
        broker.post("/topic/config?topic=t&max_messages=5&on_full=drop-oldest");
        for number in 0..20 {
            let body = format!("{number}");
            assert_eq!(broker.request("POST", "/pub?topic=t", body.as_bytes()).status, 200);
        }
        eventually("it keeps its bound", SOON, || broker.topic("t")["depth"] == 5);
        let broker = Broker::start_in(peer, &[], broker.kill());
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        for number in 15..20 {
            assert_eq!(consumer.message().text(), number.to_string());
        }
        consumer.silent(Duration::from_millis(50));
    });
}

/// More than the disk has free, but less than it has: the floor holds from the start.
#[test]
fn a_floor_of_free_space_refuses_publishes_and_says_so() {
    on_each_shoal(REASON, |peer| {
        let dir = std::sync::Arc::new(TempDir::new());
        let path = dir.path().to_owned();
        // SAFETY: statvfs is plain numbers, and the path a C string.
        let (free, size) = unsafe {
            let mut found: libc::statvfs = std::mem::zeroed();
            let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            assert_eq!(libc::statvfs(path.as_ptr(), &raw mut found), 0);
            (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
        };
        let least = free + (size - free) / 2;
        let flag = format!("--min-free-disk={least}");
        let broker = Broker::start_in(peer, &[&flag], dir);
        let reply = broker.request("GET", "/ping", b"");
        assert_eq!(reply.status, 500, "{reply:?}");
        assert!(reply.text().contains("--min-free-disk="), "{reply:?}");
        let reply = broker.request("POST", "/pub?topic=t", b"x");
        assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")), "{reply:?}");
        let reply = broker.request("POST", "/pub?topic=t%23ephemeral", b"x");
        assert_eq!(reply.status, 200, "what never goes to the disk is taken: {reply:?}");
        let wrong = format!("--min-free-disk={}", size + 1);
        let dir = TempDir::new();
        let command = Broker::command(peer, &[&wrong], &dir);
        let exit = Broker::run(command, SOON);
        assert!(
            !exit.status.success() && exit.output.contains("--min-free-disk"),
            "{}",
            exit.output
        );
    });
}
