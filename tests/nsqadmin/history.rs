//! Rates and charts from polls, this program's own metrics, and its place in the broker's process.

use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Admin, Answer, Stub};
use crate::harness::{Peer, SOON, TempDir, eventually, program};

/// An nsqd whose topic gets a hundred messages more with every look, of which ten are left.
fn busy() -> Stub {
    static LOOKS: AtomicI64 = AtomicI64::new(0);
    Stub::nsqd("t", |request| {
        if !request.starts_with("GET /stats") {
            return None;
        }
        let messages = LOOKS.fetch_add(1, Ordering::Relaxed) * 100;
        Some(Answer::ok(format!(
            r#"{{"health":"OK","topics":[{{"topic_name":"t","depth":0,"message_count":{messages},
            "channels":[{{"channel_name":"c","depth":10,"message_count":{messages},
            "client_count":3}}]}}]}}"#
        )))
    })
}

#[test]
fn polls_make_rates_and_charts() {
    let stub = busy();
    let admin = Admin::start(&[
        format!("--nsqd-http-address={}", stub.address),
        "--poll-interval=200ms".to_owned(),
        "--history-time=2s".to_owned(),
    ]);
    eventually("there are rates", SOON, || {
        admin.json("/api/overview")["topics"][0]["rate_in"].as_f64().is_some_and(|rate| rate > 0.0)
    });
    let overview = admin.json("/api/overview");
    let topic = &overview["topics"][0];
    assert_eq!(
        (topic["topic_name"].as_str(), topic["client_count"].as_i64()),
        (Some("t"), Some(3))
    );
    assert_eq!(topic["channel_depth"], 10);
    assert!(topic["rate_out"].as_f64().unwrap() > 0.0);
    assert_eq!(overview["interval_ms"], 200);
    eventually("the ring is full", SOON, || {
        admin.json("/api/history?topic=t&channel=c")["at"].as_array().unwrap().len() == 10
    });
    for target in
        ["/api/history", "/api/history?topic=t", &format!("/api/history?node={}", stub.address)]
    {
        let history = admin.json(target);
        assert_eq!(history["known"], true, "{target}");
        let rates = history["series"]["rate_in"].as_array().unwrap();
        assert_eq!(rates.len(), history["at"].as_array().unwrap().len());
        assert!(rates.last().unwrap().as_f64().unwrap() > 0.0, "{target}");
    }
    assert_eq!(admin.json("/api/history?topic=x")["known"], false);
    assert_eq!(admin.get("/api/history?topic=t&node=x").status, 400);
    let metrics = admin.get("/metrics");
    for line in [
        "nsqadmin_upstream_requests_total{target=\"nsqd\",result=\"ok\"}",
        "nsqadmin_nodes{state=\"up\"} 1",
        "nsqadmin_history_series{state=\"kept\"} 4",
        "nsqadmin_build_info{",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
    assert_eq!(admin.get("/readyz").json()["ok"], true);
}

#[test]
fn without_polls_numbers_are_those_of_the_moment() {
    let stub = Stub::nsqd("t", |_| None);
    let admin = Admin::start(&[
        format!("--nsqd-http-address={}", stub.address),
        "--poll-interval=0s".to_owned(),
    ]);
    assert_eq!(stub.seen().len(), 0, "nobody asked yet");
    let overview = admin.json("/api/overview");
    assert_eq!(overview["topics"][0]["depth"], 1);
    assert_eq!((overview["interval_ms"].as_i64(), stub.seen().is_empty()), (Some(0), false));
}

#[test]
fn the_broker_brings_its_pages_along() {
    let dir = TempDir::new();
    let mut command = Command::new(program(Peer::Shoal { shards: 1 }));
    command.args(["nsqd", "--with-lookupd", "--with-admin", "--broadcast-address=127.0.0.1"]);
    for flag in [
        "--tcp-address",
        "--http-address",
        "--with-lookupd-tcp-address",
        "--with-lookupd-http-address",
        "--with-admin-http-address",
    ] {
        command.arg(format!("{flag}=127.0.0.1:0"));
    }
    command.arg(format!("--data-path={}", dir.path().display()));
    let mut all = Admin::spawn(command);
    all.http = all.address("HTTP of nsqadmin: listening on ");
    assert_eq!(all.get("/ping").text(), "OK");
    assert_eq!(all.get("/").status, 200);
    assert_eq!(all.json("/api/nodes")["failed"], serde_json::json!([]));
}
