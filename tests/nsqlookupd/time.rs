//! What time does: producers that fall silent, tombstones, ends.

use std::time::{Duration, Instant};

use super::{Lookupd, Producer, on_each_lookupd};
use crate::harness::{SOON, eventually};

#[test]
fn a_silent_producer_is_hidden_until_it_pings() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &["--inactive-producer-timeout=700ms"]);
        let mut producer = Producer::identified(&lookupd, 1);
        producer.command("REGISTER t");
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1]);
        assert_eq!(lookupd.ports("/nodes"), [1]);
        eventually("it is hidden", SOON, || lookupd.ports("/lookup?topic=t").is_empty());
        assert!(lookupd.ports("/nodes").is_empty());
        // A registration is no sign of life, but it is there.
        producer.command("REGISTER t c");
        assert!(lookupd.ports("/lookup?topic=t").is_empty());
        assert_eq!(lookupd.get("/debug")["client::"][0]["http_port"], 1);
        assert_eq!(lookupd.names("/topics", "topics"), ["t"]);
        producer.command("PING");
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1]);
        assert_eq!(lookupd.ports("/nodes"), [1]);
    });
}

#[test]
fn a_tombstone_hides_a_producer_for_its_time() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &["--tombstone-lifetime=1500ms"]);
        let mut one = Producer::identified(&lookupd, 1);
        let mut two = Producer::identified(&lookupd, 2);
        for producer in [&mut one, &mut two] {
            producer.command("REGISTER t");
            producer.command("REGISTER u");
        }
        let start = Instant::now();
        lookupd.post("/topic/tombstone?topic=t&node=127.0.0.1:1");
        lookupd.post("/topic/tombstone?topic=t&node=localhost:2");
        assert_eq!(lookupd.ports("/lookup?topic=t"), [2]);
        assert_eq!(lookupd.ports("/lookup?topic=u"), [1, 2]);
        // Registering again does not bring it back, and all nodes are shown, with a flag.
        one.command("REGISTER t c");
        let nodes = lookupd.get("/nodes");
        let nodes = nodes["producers"].as_array().unwrap();
        let flags: Vec<bool> = nodes
            .iter()
            .flat_map(|node| node["tombstones"].as_array().unwrap())
            .map(|flag| flag.as_bool().unwrap())
            .collect();
        assert_eq!((flags.len(), flags.iter().filter(|flag| **flag).count()), (4, 1));
        assert!(start.elapsed() < Duration::from_millis(1400), "the machine is too slow for this");
        eventually("it is shown again", SOON, || lookupd.ports("/lookup?topic=t") == [1, 2]);
        assert!(start.elapsed() >= Duration::from_millis(1500));
        let debug = lookupd.get("/debug");
        let entries = debug["topic:t:"].as_array().unwrap();
        let tombstoned = entries.iter().find(|entry| entry["http_port"] == 1).unwrap();
        assert_eq!(tombstoned["tombstoned"], true);
        assert!(tombstoned["tombstoned_at"].as_i64().unwrap() > 1_600_000_000_000_000_000);
        // Leaving and coming back does.
        lookupd.post("/topic/tombstone?topic=u&node=127.0.0.1:1");
        assert_eq!(lookupd.ports("/lookup?topic=u"), [2]);
        one.command("UNREGISTER u");
        one.command("REGISTER u");
        assert_eq!(lookupd.ports("/lookup?topic=u"), [1, 2]);
    });
}

#[test]
fn signals_end_it_at_once() {
    on_each_lookupd(|kind| {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut lookupd = Lookupd::start(kind, &[]);
            let mut producer = Producer::identified(&lookupd, 1);
            producer.command("REGISTER t");
            let start = Instant::now();
            lookupd.process.signal(signal);
            let status = lookupd.process.wait(SOON);
            assert_eq!(status.code(), Some(0), "{kind:?} {signal}: {status:?}");
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            assert_eq!(producer.answer(), None);
        }
    });
}

#[test]
fn wrong_starts() {
    on_each_lookupd(|kind| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = format!("--tcp-address={}", taken.local_addr().unwrap());
        for (flag, code, text) in [
            ("--no-such-flag", 2, "no-such-flag"),
            ("--inactive-producer-timeout=5", 2, "inactive-producer-timeout"),
            ("--log-level=loud", 2, "log-level"),
            ("--config=/no/such/file", 1, "/no/such/file"),
            (taken.as_str(), 1, "address already in use"),
        ] {
            let exit = Lookupd::run(kind, &["--http-address=127.0.0.1:0", flag]);
            assert_eq!(exit.status.code(), Some(code), "{kind:?} {flag}: {}", exit.output);
            assert!(exit.output.contains(text), "{kind:?} {flag}: {}", exit.output);
        }
        let exit = Lookupd::run(kind, &["--version"]);
        assert_eq!(exit.status.code(), Some(0));
        assert!(exit.output.starts_with("nsqlookupd v1.3.0 (built w/"), "{}", exit.output);
    });
}
