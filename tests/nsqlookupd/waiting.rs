//! `/lookup` that waits for a change of the topic's producers.

use std::thread;
use std::time::{Duration, Instant};

use super::{Kind, Lookupd, Producer, on_each_lookupd, on_our_lookupd};
use crate::harness::{HttpConnection, Reply, SOON, eventually};

const REASON: &str = "the original does not wait";

fn index(reply: &Reply) -> u64 {
    reply.header("X-Nsq-Index").expect("the answer has an index").parse().unwrap()
}

fn wait(lookupd: &Lookupd, query: &str) -> Reply {
    lookupd.request("GET", &format!("/lookup?topic=t&{query}"))
}

/// Waits with this index while `change` is made, and checks that it ends the wait.
fn ended_by(lookupd: &Lookupd, index: u64, change: impl FnOnce()) -> Reply {
    let target = format!("/lookup?topic=t&wait=30s&index={index}");
    let mut client = HttpConnection::new(lookupd.process.http);
    thread::scope(|scope| {
        let start = Instant::now();
        let waiting = scope.spawn(|| client.request("GET", &target, b""));
        eventually("it waits", SOON, || {
            lookupd.request("GET", "/metrics").text().contains("nsqlookupd_waiting_lookups 1\n")
        });
        change();
        let reply = waiting.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20), "it slept through the change");
        reply
    })
}

#[test]
fn a_wait_ends_with_a_change() {
    on_our_lookupd(REASON, || {
        let lookupd = Lookupd::start(Kind::Shoal, &["--tombstone-lifetime=1s"]);
        let reply = wait(&lookupd, "wait=30s");
        assert_eq!((reply.status, index(&reply)), (404, 0));
        let mut producer = Producer::identified(&lookupd, 1);
        let reply = ended_by(&lookupd, 0, || producer.command("REGISTER t"));
        assert_eq!(reply.status, 200);
        let mut known = index(&reply);
        let reply = ended_by(&lookupd, known, || {
            producer.command("REGISTER t c");
            producer.command("PING");
            lookupd.post("/topic/tombstone?topic=t&node=127.0.0.1:1");
        });
        assert_eq!(reply.json()["producers"].as_array().unwrap().len(), 0);
        known = index(&reply);
        // The tombstone's end comes by itself.
        let reply = ended_by(&lookupd, known, || {});
        assert_eq!(reply.json()["producers"].as_array().unwrap().len(), 1);
        known = index(&reply);
        let reply = ended_by(&lookupd, known, || drop(producer));
        assert_eq!(reply.json()["producers"].as_array().unwrap().len(), 0);
        known = index(&reply);
        let reply = ended_by(&lookupd, known, || lookupd.post("/topic/delete?topic=t"));
        assert_eq!((reply.status, index(&reply)), (404, 0));
    });
}

#[test]
fn who_knows_too_little_is_answered_at_once_and_who_knows_all_waits() {
    on_our_lookupd(REASON, || {
        let lookupd = Lookupd::start(Kind::Shoal, &["--max-lookup-wait=1s"]);
        lookupd.post("/topic/create?topic=t");
        let start = Instant::now();
        let reply = wait(&lookupd, "wait=30s&index=");
        let known = index(&reply);
        for query in ["wait=30s", "wait=30s&index=1", "wait=0s&index=0", "index=7"] {
            assert_eq!(index(&wait(&lookupd, query)), known, "{query}");
        }
        assert!(start.elapsed() < Duration::from_millis(900));
        let start = Instant::now();
        let reply = wait(&lookupd, &format!("wait=30s&index={known}"));
        assert_eq!((reply.status, index(&reply)), (200, known));
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(1) && waited < SOON, "{waited:?}");
        for (query, message) in [
            ("wait=30", "INVALID_ARG_WAIT"),
            ("wait=-1s", "INVALID_ARG_WAIT"),
            ("wait=", "INVALID_ARG_WAIT"),
            ("wait=1s&index=x", "INVALID_ARG_INDEX"),
        ] {
            let reply = wait(&lookupd, query);
            let expected = format!("{{\"message\":\"{message}\"}}");
            assert_eq!((reply.status, reply.text()), (400, expected.as_str()), "{query}");
        }
    });
}

#[test]
fn a_stop_ends_all_waits() {
    on_our_lookupd(REASON, || {
        let mut lookupd = Lookupd::start(Kind::Shoal, &[]);
        lookupd.post("/topic/create?topic=t");
        let known = index(&wait(&lookupd, "wait=1s"));
        let mut client = HttpConnection::new(lookupd.process.http);
        let request =
            format!("GET /lookup?topic=t&wait=30s&index={known} HTTP/1.1\r\nHost: h\r\n\r\n");
        client.send(request.as_bytes());
        eventually("it waits", SOON, || {
            lookupd.request("GET", "/metrics").text().contains("nsqlookupd_waiting_lookups 1\n")
        });
        let start = Instant::now();
        lookupd.process.signal(libc::SIGTERM);
        assert_eq!(client.response().status, 200);
        assert_eq!(lookupd.process.wait(SOON).code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

/// Clients of the original send neither parameter: nothing is different for them.
#[test]
fn a_plain_lookup_has_no_index() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        lookupd.post("/topic/create?topic=t");
        let reply = lookupd.request("GET", "/lookup?topic=t");
        assert_eq!(reply.header("X-Nsq-Index"), None);
        assert_eq!(reply.text(), r#"{"channels":[],"producers":[]}"#);
    });
}
