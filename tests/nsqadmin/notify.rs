//! Telling an endpoint of every action, which may be dead or slow.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Admin, Answer, Stub, ask, dead_address};
use crate::harness::{SOON, eventually};

fn start(node: &Stub, endpoint: &str) -> Admin {
    Admin::start(&[
        format!("--nsqd-http-address={}", node.address),
        format!("--notification-http-endpoint={endpoint}"),
        "--http-client-request-timeout=500ms".to_owned(),
    ])
}

fn notices(stub: &Stub) -> Vec<Value> {
    let body =
        |request: String| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    stub.seen().into_iter().map(body).collect()
}

#[test]
fn every_action_is_told_in_order() {
    let node = Stub::nsqd("t", |_| None);
    let endpoint = Stub::start(|_, _| Answer::ok(""));
    let admin = start(&node, &format!("http://{}/hook", endpoint.address));
    let headers =
        [("Authorization", "Basic dTE6cHc="), ("X-Scheme", "https"), ("User-Agent", "me")];
    for (method, target, body) in [
        ("POST", "/api/topics", r#"{"topic":"n","channel":"c"}"#),
        ("POST", "/api/topics/t", r#"{"action":"pause"}"#),
        ("POST", "/api/topics/t/c", r#"{"action":"empty"}"#),
        ("DELETE", "/api/topics/t/c", ""),
        ("DELETE", "/api/topics/t", ""),
    ] {
        let reply = ask(admin.http, method, target, &headers, body.as_bytes());
        assert_eq!(reply.status, 200, "{method} {target}: {}", reply.text());
    }
    let target = format!("/api/nodes/{}", node.address);
    assert_eq!(ask(admin.http, "DELETE", &target, &headers, br#"{"topic":"t"}"#).status, 200);
    eventually("all are told", SOON, || endpoint.seen().len() == 7);
    let told = notices(&endpoint);
    let actions: Vec<&str> = told.iter().map(|notice| notice["action"].as_str().unwrap()).collect();
    let wanted = [
        "create_topic",
        "create_channel",
        "pause_topic",
        "empty_channel",
        "delete_channel",
        "delete_topic",
        "tombstone_topic_producer",
    ];
    assert_eq!(actions, wanted);
    let empty = &told[3];
    assert_eq!((&empty["topic"], &empty["channel"]), (&json!("t"), &json!("c")));
    assert_eq!((&empty["user"], &empty["user_agent"]), (&json!("u1"), &json!("me")));
    assert_eq!(empty["url"], "https://test/api/topics/t/c");
    assert!(empty["remote_ip"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(empty["timestamp"].is_i64() && empty["via"].is_string());
    assert!(empty.get("node").is_none() && told[0].get("channel").is_none());
    assert_eq!(told[6]["node"], node.address.to_string());
    assert!(endpoint.seen()[0].starts_with("POST /hook\r\n"));
    assert!(endpoint.seen()[0].contains("Content-Type: application/json"));
}

#[test]
fn an_endpoint_that_is_dead_or_slow_stops_nobody() {
    let node = Stub::nsqd("t", |_| None);
    let slow = Stub::start(|_, _| Answer::ok("").after(Duration::from_secs(60)));
    for endpoint in [format!("http://{}/", dead_address()), format!("http://{}/", slow.address)] {
        let admin = start(&node, &endpoint);
        let begun = Instant::now();
        for _ in 0..20 {
            let reply = admin.send("POST", "/api/topics/t", r#"{"action":"pause"}"#);
            assert_eq!(reply.status, 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        eventually("the failure is logged", SOON, || {
            admin.log_line("failed to POST notification - ").is_some()
        });
        assert_eq!(admin.get("/ping").text(), "OK");
        let metrics = admin.get("/metrics");
        assert!(metrics.text().contains("nsqadmin_notifications_total{result=\"failed\"}"));
    }
}
