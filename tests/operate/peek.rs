//! `/channel/messages`: looking at messages, which stay where they are.

use serde_json::Value;

use super::WHY;
use crate::harness::{Broker, Client, on_each_shoal};

fn look(broker: &Broker, state: &str, limit: usize) -> Vec<Value> {
    let target = format!("/channel/messages?topic=t&channel=c&state={state}&limit={limit}");
    let reply = broker.request("GET", &target, b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let said = reply.json();
    assert_eq!(said["unreadable"], 0);
    said["messages"].as_array().unwrap().clone()
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["body"].as_str().unwrap()).collect()
}

#[test]
fn messages_are_seen_in_their_states_and_not_consumed() {
    on_each_shoal(WHY, |peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        let mut producer = Client::new(&broker);
        for body in ["a", "b", "c"] {
            producer.publish("t", body.as_bytes());
        }
        producer.publish_deferred("t", 600_000, b"later");
        let mut consumer = Client::consumer(&broker, "t", "c", 1);
        let id = consumer.delivery("a", 1);
        for _ in 0..3 {
            let ready = look(&broker, "ready", 10);
            assert_eq!(bodies(&ready), ["b", "c"]);
            assert_eq!((&ready[0]["attempts"], &ready[0]["state"]), (&0.into(), &"ready".into()));
            assert_eq!((&ready[0]["size"], &ready[0]["truncated"]), (&1.into(), &false.into()));
            let in_flight = look(&broker, "inflight", 10);
            assert_eq!(bodies(&in_flight), ["a"]);
            assert_eq!(
                (&in_flight[0]["id"], &in_flight[0]["attempts"]),
                (&id.as_str().into(), &1.into())
            );
            let deferred = look(&broker, "deferred", 10);
            assert_eq!(bodies(&deferred), ["later"]);
            assert!(deferred[0]["due_in_ms"].as_u64().unwrap() > 500_000, "{deferred:?}");
            assert_eq!(bodies(&look(&broker, "ready", 1)), ["b"]);
        }
        let stats = broker.channel("t", "c");
        assert_eq!((&stats["depth"], &stats["in_flight_count"]), (&2.into(), &1.into()));
        assert_eq!((&stats["message_count"], &stats["deferred_count"]), (&4.into(), &1.into()));
        producer.publish("t", b"\xff\x00");
        let binary = look(&broker, "ready", 3).pop().unwrap();
        assert_eq!((&binary["body_base64"], &binary["body"]), (&"/wA=".into(), &Value::Null));
        consumer.command(&format!("FIN {id}"));
        consumer.delivery("b", 1);
        assert_eq!(broker.request("GET", "/channel/messages?topic=t&channel=c", b"").status, 200);
    });
}

/// What lies on the disk alone is read, and lies there alone afterwards, too.
#[test]
fn cold_messages_are_read_and_stay_cold() {
    on_each_shoal(WHY, |peer| {
        let flags = ["--mem-queue-size=0", "--memory-limit=16MB"];
        let broker = Broker::start(peer, &flags);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        let mut producer = Client::new(&broker);
        for number in 0..200 {
            producer.publish("t", format!("{number:>9}{}", "x".repeat(60_000)).as_bytes());
        }
        let first = crate::harness::SOON;
        crate::harness::eventually("most of it is on the disk", first, || {
            broker.channel("t", "c")["backend_depth"].as_u64() > Some(100)
        });
        // Started anew, all of it is on the disk.
        let broker = Broker::start_in(peer, &flags, broker.stop());
        let before = broker.channel("t", "c")["backend_depth"].clone();
        assert!(before.as_u64() > Some(100), "{before}");
        let seen = look(&broker, "ready", 20);
        // Sixteen of so many bytes are as much as one look shows.
        assert!((16..=20).contains(&seen.len()), "{}", seen.len());
        for (number, message) in seen.iter().enumerate() {
            let body = message["body"].as_str().unwrap();
            assert!(body.starts_with(&format!("{number:>9}")), "{number}: {}", &body[..9]);
            assert_eq!(message["size"], 60_009);
        }
        assert_eq!(broker.channel("t", "c")["backend_depth"], before);
        assert_eq!(broker.channel("t", "c")["depth"], 200);
        let mut consumer = Client::consumer(&broker, "t", "c", 1);
        assert!(consumer.message().text().starts_with("        0"));
    });
}

const ERRORS: [(&str, u16, &str); 12] = [
    ("", 400, "MISSING_ARG_TOPIC"),
    ("?topic=$&channel=c", 400, "INVALID_ARG_TOPIC"),
    ("?topic=t", 400, "MISSING_ARG_CHANNEL"),
    ("?topic=t&channel=$", 400, "INVALID_ARG_CHANNEL"),
    ("?topic=t&channel=c&state=x", 400, "INVALID_STATE"),
    ("?topic=t&channel=c&state=", 400, "INVALID_STATE"),
    ("?topic=t&channel=c&limit=x", 400, "INVALID_LIMIT"),
    ("?topic=t&channel=c&limit=0", 400, "INVALID_LIMIT"),
    ("?topic=t&channel=c&limit=-1", 400, "INVALID_LIMIT"),
    ("?topic=t&channel=c;", 400, "INVALID_REQUEST"),
    ("?topic=no&channel=c", 404, "TOPIC_NOT_FOUND"),
    ("?topic=t&channel=no", 404, "CHANNEL_NOT_FOUND"),
];

#[test]
fn wrong_requests() {
    on_each_shoal(WHY, |peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        for (query, status, message) in ERRORS {
            let reply = broker.request("GET", &format!("/channel/messages{query}"), b"");
            let got = (reply.status, reply.json()["message"].clone());
            assert_eq!(got, (status, message.into()), "{query}");
        }
        let reply = broker.request("POST", "/channel/messages?topic=t&channel=c", b"");
        assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, OPTIONS")));
        let silent = Broker::start(peer, &["--peek=false"]);
        let reply = silent.request("GET", "/channel/messages?topic=t&channel=c", b"");
        assert_eq!((reply.status, reply.text()), (403, r#"{"message":"PEEK_DISABLED"}"#));
    });
}
