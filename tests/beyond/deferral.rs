//! Batches over HTTP that wait for their time, be it months away.

use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, on_each_shoal};

const REASON: &str = "the original defers single messages only";

#[test]
fn a_batch_waits_for_its_time() {
    on_each_shoal(REASON, |peer| {
        let broker = Broker::start(peer, &[]);
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        let start = Instant::now();
        let reply = broker.request("POST", "/mpub?topic=t&defer=700", b"one\ntwo\nthree");
        assert_eq!((reply.status, reply.text()), (200, "OK"));
        assert_eq!(broker.channel("t", "c")["deferred_count"], 3);
        let bodies = [(); 3].map(|()| consumer.message().text().to_owned());
        assert!(start.elapsed() >= Duration::from_millis(700));
        assert_eq!(bodies, ["one", "two", "three"]);
        let binary = [&3_u32.to_be_bytes()[..], &[0, 0, 0, 1, b'x'].repeat(3)].concat();
        let target = "/mpub?topic=t&binary=true&defer=60000";
        assert_eq!(broker.request("POST", target, &binary).status, 200);
        assert_eq!(broker.channel("t", "c")["deferred_count"], 3);
        for wrong in ["x", "-1", "3600001", "1.5"] {
            let target = format!("/mpub?topic=t&defer={wrong}");
            let reply = broker.request("POST", &target, b"x");
            assert_eq!(reply.status, 400, "{wrong}: {reply:?}");
            assert_eq!(reply.json()["message"], "INVALID_DEFER");
        }
    });
}

#[test]
fn months_ahead_and_over_a_crash() {
    on_each_shoal(REASON, |peer| {
        let flags = ["--max-defer-time=2400h"];
        let broker = Broker::start(peer, &flags);
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        let ninety_days_ms = 90_u64 * 24 * 3_600_000;
        let target = format!("/mpub?topic=t&defer={ninety_days_ms}");
        assert_eq!(broker.request("POST", &target, b"one\ntwo").status, 200);
        let mut producer = Client::new(&broker);
        producer.publish_deferred("t", ninety_days_ms, b"three");
        let broker = Broker::start_in(peer, &flags, broker.kill());
        let mut consumer = Client::consumer(&broker, "t", "c", 10);
        consumer.silent(Duration::from_millis(200));
        assert_eq!(broker.channel("t", "c")["deferred_count"], 3);
    });
}
