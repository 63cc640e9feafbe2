//! What Shoal bounds and the original does not: connections, registrations, silence; and what it
//! tells of itself.

use std::time::Duration;

use super::{Kind, Lookupd, Producer, on_our_lookupd};
use crate::harness::{HttpConnection, SOON, eventually, fd_count};

const REASON: &str = "the original has no such limits";

#[test]
fn registrations_are_bounded() {
    on_our_lookupd(REASON, || {
        let lookupd = Lookupd::start(Kind::Shoal, &["--max-registrations=5"]);
        let mut producer = Producer::identified(&lookupd, 1);
        producer.command("REGISTER t c");
        producer.command("REGISTER t c");
        producer.say(b"REGISTER u\n");
        assert_eq!(producer.answers(), ["E_INVALID REGISTER too many registrations"]);
        // Its entries are gone, the two names stay.
        eventually("the entries are gone", SOON, || lookupd.ports("/nodes").is_empty());
        lookupd.post("/channel/create?topic=u&channel=c");
        let reply = lookupd.request("POST", "/channel/create?topic=v&channel=c");
        assert_eq!(reply.status, 503);
        assert_eq!(reply.text(), r#"{"message":"TOO_MANY_REGISTRATIONS"}"#);
        assert_eq!(lookupd.names("/topics", "topics"), ["t", "u"]);
    });
}

#[test]
fn connections_are_bounded() {
    on_our_lookupd(REASON, || {
        let flags = ["--max-connections=2", "--max-http-connections=3"];
        let lookupd = Lookupd::start(Kind::Shoal, &flags);
        let first = Producer::identified(&lookupd, 1);
        let mut second = Producer::identified(&lookupd, 2);
        let mut third = Producer::connect(&lookupd);
        third.say(b"  V1PING\n");
        assert_eq!(third.answer(), None);
        drop(first);
        eventually("there is room again", SOON, || {
            let mut producer = Producer::connect(&lookupd);
            producer.say(b"  V1PING\n");
            producer.answer().is_some()
        });
        second.command("PING");
        eventually("it says so", SOON, || {
            lookupd.process.log_line("connections refused").is_some()
        });
        let mut clients: Vec<_> =
            (0..3).map(|_| HttpConnection::new(lookupd.process.http)).collect();
        assert_eq!(clients[0].request("GET", "/ping", b"").text(), "OK");
        let mut refused = HttpConnection::new(lookupd.process.http);
        refused.try_send(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused.rest(), b"");
    });
}

#[test]
fn the_silent_are_sent_away() {
    on_our_lookupd(REASON, || {
        let flags = [
            "--greeting-timeout=300ms",
            "--client-timeout=1500ms",
            "--http-idle-timeout=300ms",
            "--http-request-timeout=300ms",
        ];
        let lookupd = Lookupd::start(Kind::Shoal, &flags);
        let fds = fd_count(lookupd.process.pid());
        let mut says_nothing = Producer::connect(&lookupd);
        let mut half_a_magic = Producer::connect(&lookupd);
        half_a_magic.say(b"  ");
        let mut half_a_line = Producer::identified(&lookupd, 1);
        half_a_line.say(b"PIN");
        let mut half_a_body = Producer::connect(&lookupd);
        half_a_body.say(b"  V1IDENTIFY\n\0\0\0\x09{");
        let mut quiet = Producer::identified(&lookupd, 2);
        for producer in [&mut says_nothing, &mut half_a_magic, &mut half_a_line, &mut half_a_body] {
            assert_eq!(producer.answer(), None);
        }
        let mut idle = HttpConnection::new(lookupd.process.http);
        assert_eq!(idle.rest(), b"");
        quiet.command("PING");
        assert_eq!(quiet.answer(), None);
        eventually("all is cleaned up", SOON, || fd_count(lookupd.process.pid()) <= fds);
        assert!(lookupd.ports("/nodes").is_empty());
    });
}

#[test]
fn trickles_do_not_prolong_a_command() {
    on_our_lookupd(REASON, || {
        let lookupd = Lookupd::start(Kind::Shoal, &["--greeting-timeout=500ms"]);
        let mut producer = Producer::identified(&lookupd, 1);
        for byte in b"REGISTER a-topic-with-a-name a-channel-with-one" {
            producer.say(&[*byte]);
            std::thread::sleep(Duration::from_millis(50));
        }
        producer.say(b"\n");
        assert_eq!(producer.answer(), None);
    });
}

#[test]
fn metrics_and_health() {
    on_our_lookupd("the original has neither", || {
        let lookupd = Lookupd::start(Kind::Shoal, &[]);
        let mut producer = Producer::identified(&lookupd, 7);
        producer.command("REGISTER t c");
        lookupd.post("/topic/tombstone?topic=t&node=127.0.0.1:7");
        let reply = lookupd.request("GET", "/metrics");
        assert_eq!(reply.header("Content-Type"), Some("text/plain; version=0.0.4"));
        for line in [
            "# TYPE nsqlookupd_producers gauge",
            "nsqlookupd_producers 1",
            "nsqlookupd_topics 1",
            "nsqlookupd_channels 1",
            "nsqlookupd_registrations 4",
            "nsqlookupd_tombstones 1",
            "nsqlookupd_connections{listener=\"tcp\"} 1",
            "# TYPE nsqlookupd_connections_total counter",
        ] {
            assert!(reply.text().lines().any(|found| found == line), "{line}: {}", reply.text());
        }
        assert_eq!(lookupd.request("GET", "/healthz").json()["status"], "ok");
        assert_eq!(lookupd.request("GET", "/readyz").json()["status"], "ready");
    });
}
