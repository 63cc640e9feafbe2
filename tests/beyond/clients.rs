//! What clients that know only NSQ make of all this: go-nsq and pynsq as they are.
//!
//! `clients/go/beyond` and `clients/python/beyond.py` insist on publishing what is refused, or
//! judge what they get: what begins with "poison" goes back, the rest is finished.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::attempts::configure;
use crate::harness::{Broker, Client, Peer, SOON, eventually, on_each_shoal, show};

const REASON: &str = "the original has none of it";
const DEADLINE_S: u64 = 60;
/// Clocks and timers may round, but not by more than this.
const EARLY_SLACK_MS: f64 = 5.0;

/// How each library's program is started, relative to `tests/clients`.
const LIBRARIES: [(&str, &[&str]); 2] =
    [("go", &["go/bin/beyond"]), ("python", &["python/.venv/bin/python", "python/beyond.py"])];

/// A program on a client library, against a broker.
#[derive(Clone, Copy)]
struct Guest<'a> {
    language: &'static str,
    command: &'static [&'static str],
    broker: &'a Broker,
}

/// What came to a judge.
struct Judged {
    deliveries: Vec<Value>,
    gave_up: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// The text behind the hexadecimal digits of a report.
fn text(digits: &Value) -> String {
    let digits = digits.as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    show(&(0..digits.len()).step_by(2).map(byte).collect::<Vec<u8>>())
}

impl Guest<'_> {
    fn run(&self, mode: &str, topic: &str, more: &[&str]) -> Value {
        let program = folder().join(self.command[0]);
        let missing = format!("{} is missing: run tests/clients/setup", program.display());
        assert!(program.exists(), "{missing}");
        let mut command = Command::new(program);
        command.args(&self.command[1..]).current_dir(folder());
        command.args(["--mode", mode, "--topic", topic, "--nsqd", &self.broker.tcp.to_string()]);
        command.args(["--deadline-s", &DEADLINE_S.to_string()]).args(more);
        let exit = Broker::run(command, Duration::from_secs(DEADLINE_S + 20));
        let who = format!("{} {mode} {topic}", self.language);
        assert!(exit.status.success(), "{who}: {}\n{}", exit.status, exit.output);
        let line = exit.output.lines().find(|line| line.starts_with('{'));
        let line = line.unwrap_or_else(|| panic!("{who}: no report: {}", exit.output));
        serde_json::from_str(line).unwrap()
    }

    /// Publishes so many messages, each until it is taken.
    fn insist(&self, topic: &str, messages: usize) -> Value {
        self.run("insist", topic, &["--messages", &messages.to_string()])
    }

    /// Awaits so many messages, and tells of all that came until a moment after the last.
    fn judge(&self, topic: &str, channel: &str, messages: usize, more: &[&str]) -> Judged {
        let count = messages.to_string();
        let arguments = [&["--channel", channel, "--messages", &count], more].concat();
        let report = self.run("judge", topic, &arguments);
        let deliveries = report["deliveries"].as_array().unwrap().clone();
        let gave_up = report["gave_up"].as_array().unwrap().iter().map(text).collect();
        Judged { deliveries, gave_up }
    }
}

impl Judged {
    fn bodies(&self) -> Vec<String> {
        self.deliveries.iter().map(|delivery| text(&delivery["body"])).collect()
    }

    /// The attempts of each delivery of a message.
    fn attempts(&self, body: &str) -> Vec<u64> {
        let of_body = self.deliveries.iter().filter(|one| text(&one["body"]) == body);
        of_body.map(|delivery| delivery["attempts"].as_u64().unwrap()).collect()
    }

    /// Milliseconds between the deliveries of a message.
    fn gaps_ms(&self, body: &str) -> Vec<f64> {
        let of_body = self.deliveries.iter().filter(|one| text(&one["body"]) == body);
        let at: Vec<f64> = of_body.map(|one| one["at_ms"].as_f64().unwrap()).collect();
        at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

/// Runs a test with both libraries, each with brokers of its own in every shape.
fn with_each(test: impl Fn(Guest<'_>) + Sync) {
    let last = |peer| match peer {
        Peer::Shoal { shards } => shards - 1,
        Peer::Original => 0,
    };
    on_each_shoal(REASON, |peer| {
        let test = &test;
        thread::scope(|scope| {
            for (language, command) in LIBRARIES {
                scope.spawn(move || {
                    let dead = format!("--topic-shard=dead={}", last(peer));
                    let broker = Broker::start(peer, &["--topic-shard=work=0", &dead]);
                    test(Guest { language, command, broker: &broker });
                });
            }
        });
    });
}

/// The body that a guest publishes as its so manieth.
fn body(number: usize) -> String {
    format!("{number:06}..............")
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(body).collect()
}

#[test]
fn a_producer_that_is_refused_reconnects_and_goes_on_when_there_is_room() {
    with_each(|guest| {
        let broker = guest.broker;
        configure(broker, "c", "max_messages=10");
        let report = thread::scope(|scope| {
            let producer = scope.spawn(|| guest.insist("work", 40));
            eventually("some are refused", SOON, || {
                broker.topic("work")["rejected_count"].as_u64().is_some_and(|count| count > 1)
            });
            // The client publishes one at a time, so no turn takes in more than one.
            assert_eq!(broker.channel("work", "c")["depth"], 10);
            let judged = guest.judge("work", "c", 40, &[]);
            let mut bodies = judged.bodies();
            bodies.sort();
            assert_eq!(bodies, numbered(0..40), "{}: each comes once", guest.language);
            producer.join().unwrap()
        });
        let language = guest.language;
        assert_eq!(report["published"], 40, "{language}: {report}");
        assert!(report["refused"].as_u64().unwrap() > 0, "{language}: {report}");
        let refusal = "E_PUB_FAILED PUB failed limit reached: channel work/c has max_messages=10";
        let errors = report["errors"].as_object().unwrap();
        assert!(errors.keys().any(|text| text.contains(refusal)), "{language}: {report}");
    });
}

#[test]
fn a_producer_sees_nothing_of_what_is_dropped_for_it() {
    with_each(|guest| {
        configure(guest.broker, "c", "max_messages=10&on_full=drop-oldest");
        let report = guest.insist("work", 40);
        assert_eq!(report["errors"], serde_json::json!({}), "{}", guest.language);
        guest.broker.await_channel("work", "c", "dropped_count", 30);
        let judged = guest.judge("work", "c", 10, &[]);
        assert_eq!(judged.bodies(), numbered(30..40), "{}", guest.language);
    });
}

#[test]
fn what_a_full_channel_gives_up_is_consumed_like_anything_else() {
    with_each(|guest| {
        let broker = guest.broker;
        configure(broker, "c", "max_messages=10&on_full=dead-letter&dead_letter_topic=dead");
        let report = guest.insist("work", 40);
        assert_eq!(report["errors"], serde_json::json!({}), "{}", guest.language);
        let judged = guest.judge("dead", "letters", 30, &[]);
        assert_eq!(judged.bodies(), numbered(0..30), "{}", guest.language);
        let judged = guest.judge("work", "c", 10, &[]);
        assert_eq!(judged.bodies(), numbered(30..40), "{}", guest.language);
        for (topic, channel) in [("dead", "letters"), ("work", "c")] {
            broker.await_channel(topic, channel, "depth", 0);
        }
    });
}

/// Bytes of every kind, the last of them in a dead letter too.
const POISON: &[u8] = b"poison\x00\xff\r\n{}";

#[test]
fn the_brokers_limit_below_the_clients_own_gives_a_dead_letter() {
    with_each(|guest| {
        configure(guest.broker, "c", "max_attempts=3&dead_letter_topic=dead");
        let mut producer = Client::new(guest.broker);
        producer.publish("work", POISON);
        producer.publish("work", b"good");
        let judged = guest.judge("work", "c", 4, &["--max-attempts", "5"]);
        let language = guest.language;
        assert_eq!(judged.attempts(&show(POISON)), [1, 2, 3], "{language}");
        assert_eq!(judged.attempts("good"), [1], "{language}");
        assert!(judged.gave_up.is_empty(), "{language}: {:?}", judged.gave_up);
        // The letter is an ordinary message, and whoever judges it so may give it back for ever.
        let letters = guest.judge("dead", "letters", 2, &[]);
        assert_eq!(letters.attempts(&show(POISON))[..2], [1, 2], "{language}");
        assert_eq!(guest.broker.channel("work", "c")["dead_letter_count"], 1);
    });
}

#[test]
fn a_clients_own_limit_below_the_brokers_goes_on_working() {
    with_each(|guest| {
        configure(guest.broker, "c", "max_attempts=6&dead_letter_topic=dead");
        Client::new(guest.broker).publish("work", POISON);
        let judged = guest.judge("work", "c", 3, &["--max-attempts", "2"]);
        let language = guest.language;
        assert_eq!(judged.attempts(&show(POISON)), [1, 2], "{language}");
        assert_eq!(judged.gave_up, [show(POISON)], "{language}");
        guest.broker.await_channel("work", "c", "in_flight_count", 0);
        let stats = guest.broker.channel("work", "c");
        assert_eq!((&stats["depth"], &stats["deferred_count"]), (&0.into(), &0.into()));
        assert!(stats["dead_letter_count"].is_null(), "{language}: {stats}");
    });
}

/// Of the broker's delay and the client's the longer one holds.
#[test]
fn the_longer_delay_holds() {
    with_each(|guest| {
        let settings = "max_attempts=4&dead_letter_topic=dead&retry_backoff=300ms,100ms,600ms";
        configure(guest.broker, "c", settings);
        Client::new(guest.broker).publish("work", b"poison");
        let judged = guest.judge("work", "c", 4, &["--requeue-ms", "400"]);
        let gaps_ms = judged.gaps_ms("poison");
        let least_ms = [400.0, 400.0, 600.0];
        let held = gaps_ms.iter().zip(least_ms).all(|(gap, least)| *gap >= least - EARLY_SLACK_MS);
        assert!(gaps_ms.len() == 3 && held, "{}: {gaps_ms:?}", guest.language);
        guest.broker.await_channel("work", "c", "dead_letter_count", 1);
    });
}

#[test]
fn dead_letters_are_brought_back_to_clients_at_a_rate() {
    with_each(|guest| {
        let (broker, language) = (guest.broker, guest.language);
        configure(broker, "c", "max_attempts=1&dead_letter_topic=dead");
        let mut producer = Client::new(broker);
        let mut refuser = Client::consumer(broker, "work", "c", 100);
        for number in 0..16 {
            producer.publish("work", body(number).as_bytes());
        }
        for _ in 0..16 {
            let message = refuser.message();
            refuser.req(&message.id, 0);
        }
        drop(refuser);
        eventually("all are dead", SOON, || broker.topic("dead")["depth"] == 16);
        broker.await_channel("work", "c", "client_count", 0);
        let judged = thread::scope(|scope| {
            let judge = scope.spawn(|| guest.judge("work", "c", 16, &[]));
            broker.await_channel("work", "c", "client_count", 1);
            broker.post("/channel/redrive?topic=dead&channel=r&rate=20");
            judge.join().unwrap()
        });
        let mut bodies = judged.bodies();
        bodies.sort();
        assert_eq!(bodies, numbered(0..16), "{language}");
        assert!(judged.deliveries.iter().all(|one| one["attempts"] == 1), "{language}");
        // What came late says nothing: of any that came in time the next ones had to wait.
        let at = |index: usize| judged.deliveries[index]["at_ms"].as_f64().unwrap();
        let whole_ms = at(15) - at(0);
        assert!(whole_ms >= 400.0, "{language}: {whole_ms} ms for 16 at 20 a second");
        broker.await_channel("dead", "r", "depth", 0);
    });
}

#[test]
fn a_batch_that_is_put_off_comes_to_clients_when_it_is_due() {
    with_each(|guest| {
        let broker = guest.broker;
        configure(broker, "c", "");
        let bodies = numbered(0..5).join("\n");
        let reply = broker.request("POST", "/mpub?topic=work&defer=700", bodies.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        let judged = guest.judge("work", "c", 5, &[]);
        let mut found = judged.bodies();
        found.sort();
        assert_eq!(found, numbered(0..5), "{}", guest.language);
        for delivery in &judged.deliveries {
            let age_ms = delivery["age_ms"].as_f64().unwrap();
            assert!(age_ms >= 700.0 - EARLY_SLACK_MS, "{}: {age_ms} ms", guest.language);
        }
    });
}

/// What is finished comes again to clients that know of nothing, whatever ended the broker.
#[test]
fn what_is_kept_comes_again_over_a_kill_and_a_stop() {
    let flags = ["--retention-bytes=1GB"];
    on_each_shoal(REASON, |peer| {
        thread::scope(|scope| {
            for (language, command) in LIBRARIES {
                scope.spawn(move || {
                    let broker = Broker::start(peer, &flags);
                    broker.post("/topic/create?topic=work");
                    broker.post("/channel/create?topic=work&channel=c");
                    let guest = Guest { language, command, broker: &broker };
                    guest.insist("work", 40);
                    guest.judge("work", "c", 40, &[]);
                    let broker = Broker::start_in(peer, &flags, broker.kill());
                    broker.post("/channel/create?topic=work&channel=late&from=earliest");
                    broker.post("/channel/seek?topic=work&channel=c&to=earliest");
                    let broker = Broker::start_in(peer, &flags, broker.stop());
                    for channel in ["late", "c"] {
                        let guest = Guest { language, command, broker: &broker };
                        let judged = guest.judge("work", channel, 40, &[]);
                        assert_eq!(judged.bodies(), numbered(0..40), "{language} {channel}");
                        assert_eq!(judged.attempts(&body(0)), [1], "{language} {channel}");
                        broker.await_channel("work", channel, "depth", 0);
                    }
                });
            }
        });
    });
}
