//! What is promised of limits and attempts where it is hard: random ends, ten producers, a channel
//! that everybody forgot, settings that contradict each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::attempts::configure;
use crate::harness::{Broker, Client, Peer, SOON, TempDir, eventually, mpub, on_each_shoal};

const REASON: &str = "the original has no limits";
const POISON: usize = 12;
const KILLS: usize = 10;
const ATTEMPTS: u16 = 4;

/// What a consumer that always gives back has seen: of each message how often with which attempts.
type Seen = BTreeMap<String, Vec<u16>>;

/// Gives back whatever comes, until the broker is gone or nothing comes for so long.
fn give_back(broker: &Broker, quiet: Duration, seen: &mut Seen) {
    let Some(mut consumer) = Client::try_new(broker.tcp) else { return };
    if !consumer.try_send(b"SUB work c\nRDY 5\n") {
        return;
    }
    loop {
        match consumer.next(quiet) {
            Ok(crate::harness::Frame::Message(message)) => {
                let line = format!("REQ {} 0\n", message.id);
                seen.entry(message.text().to_owned()).or_default().push(message.attempts);
                if !consumer.try_send(line.as_bytes()) {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn random_ms(state: &mut u64, most: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % most
}

/// Whatever the moment at which the broker is killed, again and again: no message is delivered with
/// more attempts than the channel allows, and each ends as a dead letter.
#[test]
fn poison_ends_as_a_dead_letter_over_random_kills() {
    on_each_shoal(REASON, |peer| {
        let flags = ["--topic-shard=work=0", "--topic-shard=dead=0"];
        let mut broker = Broker::start(peer, &flags);
        let settings = format!("max_attempts={ATTEMPTS}&dead_letter_topic=dead&retry_backoff=60ms");
        configure(&broker, "c", &settings);
        let mut producer = Client::new(&broker);
        for number in 0..POISON {
            producer.publish("work", format!("poison {number}").as_bytes());
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut state = since.as_nanos() as u64 | 1;
        println!("seed {state}");
        let mut seen = Seen::new();
        for _ in 0..KILLS {
            let after = Duration::from_millis(random_ms(&mut state, 120));
            thread::scope(|scope| {
                let consumer = scope.spawn(|| {
                    let mut part = Seen::new();
                    give_back(&broker, SOON, &mut part);
                    part
                });
                thread::sleep(after);
                broker.signal(libc::SIGKILL);
                for (body, attempts) in consumer.join().unwrap() {
                    seen.entry(body).or_default().extend(attempts);
                }
            });
            broker = Broker::start_in(peer, &flags, broker.kill());
        }
        eventually("none is left", 2 * SOON, || {
            give_back(&broker, Duration::from_millis(400), &mut seen);
            let stats = broker.channel("work", "c");
            ["depth", "in_flight_count", "deferred_count"].iter().all(|field| stats[*field] == 0)
                && stats["dead_lettering_count"].is_null()
        });
        for (body, attempts) in &seen {
            assert!(attempts.iter().all(|&attempt| attempt <= ATTEMPTS), "{body}: {attempts:?}");
            assert!(attempts.is_sorted(), "{body}: attempts are never forgotten: {attempts:?}");
            // What a kill forgets are the deliveries of one turn, so it costs one more at most.
            let most = usize::from(ATTEMPTS) + KILLS;
            assert!(attempts.len() <= most, "{body}: {attempts:?}");
        }
        let mut letters = Client::consumer(&broker, "dead", "d", 100);
        let letters = letters.drain(Duration::from_millis(400));
        let mut bodies: Vec<&str> = letters.iter().map(|letter| letter.text()).collect();
        bodies.sort_unstable();
        bodies.dedup();
        assert_eq!(bodies.len(), POISON, "{bodies:?}");
        assert!(letters.len() <= POISON + KILLS, "{} letters", letters.len());
    });
}

/// Messages from batches over one topic, with a channel beside that nobody reads. How long it took.
fn flow(peer: Peer, forgotten: Option<&str>) -> Duration {
    const BATCHES: usize = 100;
    let broker = Broker::start(peer, &[]);
    broker.post("/topic/create?topic=t");
    if let Some(settings) = forgotten {
        broker.post("/channel/create?topic=t&channel=forgotten");
        broker.post(&format!("/channel/config?topic=t&channel=forgotten&{settings}"));
    }
    let mut consumer = Client::consumer(&broker, "t", "c", 2000);
    let mut producer = Client::new(&broker);
    let batch = mpub("t", &[&[b'x'; 200][..]; 100]);
    let start = Instant::now();
    for _ in 0..BATCHES {
        producer.send(&batch);
        producer.ok();
        for _ in 0..100 {
            let message = consumer.message();
            consumer.fin(&message.id);
        }
    }
    let elapsed = start.elapsed();
    broker.await_channel("t", "c", "in_flight_count", 0);
    if forgotten.is_some() {
        // A batch is one turn's, and what is too much of it goes in the same turn.
        let stats = broker.channel("t", "forgotten");
        let (depth, dropped) = (&stats["depth"], &stats["dropped_count"]);
        let sum = depth.as_u64().unwrap() + dropped.as_u64().unwrap();
        assert_eq!((depth, sum), (&500.into(), 100 * BATCHES as u64), "{stats}");
    }
    elapsed
}

/// It holds its bound, and the other channel is as quick as without it, however loaded the machine:
/// the best of some tries is compared.
#[test]
fn a_forgotten_channel_costs_the_other_nothing() {
    on_each_shoal(REASON, |peer| {
        let settings = "max_messages=500&on_full=drop-oldest";
        let tries = |forgotten: Option<&str>| (0..3).map(|_| flow(peer, forgotten)).min().unwrap();
        let (alone, beside) = (tries(None), tries(Some(settings)));
        assert!(beside < 2 * alone + Duration::from_millis(200), "{alone:?} and {beside:?}");
    });
}

/// What contradicts something is refused at a start and over HTTP alike, by its name.
#[test]
fn what_contradicts_is_refused_at_start_and_over_http() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        let bounds = "max_messages=5&max_bytes=1MB&max_age=1m";
        broker.post(&format!("/topic/config?topic=t&{bounds}"));
        for (of_topic, name, value) in [
            ("--topic-max-messages=5", "max-messages", "6"),
            ("--topic-max-bytes=1MB", "max-bytes", "2MB"),
            ("--topic-max-age=1m", "max-age", "61s"),
            ("--topic-on-full=reject", "on-full", "dead-letter"),
            ("--topic-on-full=reject", "on-full", "never"),
            ("--topic-max-messages=5", "max-messages", "-1"),
        ] {
            let flag = format!("--channel-{name}={value}");
            let dir = Arc::new(TempDir::new());
            let exit = Broker::run(Broker::command(peer, &[of_topic, &flag], &dir), SOON);
            assert!(!exit.status.success(), "{flag}");
            assert!(exit.output.contains(&format!("--channel-{name}")), "{flag}: {}", exit.output);
            let parameter = name.replace('-', "_");
            let target = format!("/channel/config?topic=t&channel=c&{parameter}={value}");
            let reply = broker.request("POST", &target, b"");
            let code = format!("INVALID_ARG_{}: {parameter} ", parameter.to_uppercase());
            assert_eq!(reply.status, 400, "{target}: {reply:?}");
            assert!(reply.text().contains(&code), "{target}: {}", reply.text());
        }
    });
}
