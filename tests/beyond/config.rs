//! What is asked of topics and channels over HTTP: shown, kept, refused when it makes no sense.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Broker, Reply, SOON, eventually, on_each_shoal};

const REASON: &str = "the original has no such settings";

fn start(peer: crate::harness::Peer) -> Broker {
    let broker = Broker::start(peer, &[]);
    for topic in ["a", "b", "c"] {
        broker.post(&format!("/topic/create?topic={topic}"));
        broker.post(&format!("/channel/create?topic={topic}&channel=x"));
    }
    broker
}

fn set(broker: &Broker, target: &str) -> Reply {
    broker.request("POST", target, b"")
}

fn get(broker: &Broker, target: &str) -> Value {
    broker.request("GET", target, b"").json()
}

#[test]
fn settings_are_shown_changed_and_kept() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        let nothing = json!({
            "topic": "a", "channel": "x", "max_bytes": 0, "max_messages": 0, "max_age": "0s",
            "on_full": "reject", "dead_letter_topic": "", "max_attempts": 0, "retry_backoff": [],
        });
        assert_eq!(get(&broker, "/channel/config?topic=a&channel=x"), nothing);
        let reply = set(
            &broker,
            "/channel/config?topic=a&channel=x&max_attempts=5&retry_backoff=1s,90s,1.5h\
             &dead_letter_topic=a.dead&max_bytes=2MB&max_messages=7&max_age=36h\
             &on_full=dead-letter",
        );
        let all = json!({
            "topic": "a", "channel": "x", "max_bytes": 2 << 20, "max_messages": 7,
            "max_age": "36h", "on_full": "dead-letter", "dead_letter_topic": "a.dead",
            "max_attempts": 5, "retry_backoff": ["1s", "90s", "90m"],
        });
        assert_eq!((reply.status, reply.json()), (200, all.clone()));
        let reply = set(&broker, "/topic/config?topic=b&max_messages=9&on_full=drop-oldest");
        assert_eq!(reply.status, 200);
        let broker = Broker::start_in(peer, &[], broker.kill());
        assert_eq!(get(&broker, "/channel/config?topic=a&channel=x"), all);
        let topic = get(&broker, "/topic/config?topic=b");
        assert_eq!((&topic["max_messages"], &topic["on_full"]), (&json!(9), &json!("drop-oldest")));
        let reply = set(
            &broker,
            "/channel/config?topic=a&channel=x&max_attempts=&retry_backoff=&dead_letter_topic=\
             &max_bytes=&max_messages=&max_age=&on_full=",
        );
        assert_eq!((reply.status, reply.json()), (200, nothing));
        let text = std::fs::read_to_string(broker.dir().path().join("nsqd.dat")).unwrap();
        let channel = text.matches("shoal").count();
        assert_eq!(channel, 1, "only the topic's are left: {text}");
    });
}

#[test]
fn what_makes_no_sense_is_refused_by_name_and_changes_nothing() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        let before = get(&broker, "/channel/config?topic=a&channel=x");
        let long = "x".repeat(65);
        let too_long = format!("dead_letter_topic={long}");
        for (settings, parameter) in [
            ("max_atempts=5", "max_atempts"),
            ("max_attempts=-1", "max_attempts"),
            ("max_attempts=65536&dead_letter_topic=d", "max_attempts"),
            ("max_attempts=3", "max_attempts"),
            ("on_full=dead-letter", "on_full"),
            ("on_full=drop", "on_full"),
            ("dead_letter_topic=a", "dead_letter_topic"),
            ("dead_letter_topic=d%23ephemeral", "dead_letter_topic"),
            ("dead_letter_topic=a/b", "dead_letter_topic"),
            (&too_long, "dead_letter_topic"),
            ("retry_backoff=5", "retry_backoff"),
            ("retry_backoff=-5s", "retry_backoff"),
            ("max_bytes=many", "max_bytes"),
            ("max_messages=1&max_messages=2", "max_messages"),
            ("max_age=900000h", "max_age"),
            // The good part is not carried out either.
            ("max_messages=5&max_age=x", "max_age"),
        ] {
            let reply = set(&broker, &format!("/channel/config?topic=a&channel=x&{settings}"));
            assert_eq!(reply.status, 400, "{settings}: {reply:?}");
            let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            let code = format!("INVALID_ARG_{}: {parameter} ", parameter.to_uppercase());
            assert!(message.starts_with(&code), "{settings}: {message}");
        }
        assert_eq!(get(&broker, "/channel/config?topic=a&channel=x"), before);
        for (target, code) in [
            ("/channel/config?topic=a", "MISSING_ARG_CHANNEL"),
            ("/channel/config?channel=x", "MISSING_ARG_TOPIC"),
            ("/topic/config?topic=a&max_attempts=2", "INVALID_ARG_MAX_ATTEMPTS"),
            ("/topic/config?topic=a%20b", "INVALID_TOPIC"),
            ("/topic/config?topic=none&max_bytes=1", "TOPIC_NOT_FOUND"),
            ("/channel/config?topic=a&channel=none&max_bytes=1", "CHANNEL_NOT_FOUND"),
        ] {
            let reply = set(&broker, target);
            let text = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(text.starts_with(code), "{target}: {reply:?}");
        }
    });
}

#[test]
fn a_circle_of_dead_letters_is_refused() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        let point = |from: &str, to: &str| {
            let target = format!("/channel/config?topic={from}&channel=x&dead_letter_topic={to}");
            set(&broker, &target)
        };
        assert_eq!(point("a", "b").status, 200);
        assert_eq!(point("b", "c").status, 200);
        for closing in ["a", "b"] {
            let reply = point("c", closing);
            assert_eq!(reply.status, 400, "{reply:?}");
            let text = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(text.contains("makes a circle: c to "), "{text}");
        }
        let reply = set(&broker, "/topic/config?topic=c&dead_letter_topic=a");
        assert_eq!(reply.status, 400, "{reply:?}");
        assert_eq!(point("c", "d").status, 200);
        broker.post("/channel/delete?topic=b&channel=x");
        assert_eq!(point("c", "a").status, 200, "there is no circle any more");
    });
}

/// The original reads our `nsqd.dat`, with everything that it does not know, and keeps the rest.
#[test]
fn the_original_reads_the_metadata() {
    let Some(original) = std::env::var_os("SHOAL_TEST_ORIGINAL_NSQD") else {
        eprintln!("skipped: SHOAL_TEST_ORIGINAL_NSQD names no nsqd");
        return;
    };
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        let settings = "max_attempts=5&dead_letter_topic=a.dead&max_messages=7";
        let target = format!("/channel/config?topic=a&channel=x&{settings}");
        assert_eq!(set(&broker, &target).status, 200);
        broker.post("/channel/pause?topic=a&channel=x");
        let dir = broker.stop();
        let mut command = Command::new(&original);
        command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        command.arg(format!("--data-path={}", dir.path().display()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let broker = Broker::spawn(command, dir);
        eventually("the channel is there", SOON, || broker.channel("a", "x")["paused"] == true);
        let stats = broker.topic("b");
        assert_eq!(stats["channels"].as_array().map(Vec::len), Some(1));
        std::thread::sleep(Duration::from_millis(10));
    });
}
