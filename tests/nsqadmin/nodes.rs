//! Nodes that are dead, slow, or talk nonsense.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Admin, Answer, Stub, dead_address};

fn nsqd_flag(address: std::net::SocketAddr) -> String {
    format!("--nsqd-http-address={address}")
}

#[test]
fn a_dead_node_is_named_and_the_others_are_shown() {
    let (alive, dead) = (Stub::nsqd("t", |_| None), dead_address());
    let admin = Admin::start(&[nsqd_flag(alive.address), nsqd_flag(dead)]);
    let topic = admin.json("/api/topics/t");
    assert_eq!(topic["depth"], 1);
    let failed = &topic["failed"][0];
    assert_eq!((&failed["kind"], &failed["address"]), (&json!("nsqd"), &json!(dead.to_string())));
    let refused =
        format!("Get \"http://{dead}/info\": dial tcp {dead}: connect: connection refused");
    assert_eq!(failed["error"], refused);
    assert_eq!(topic["message"], format!("WARNING: {refused}"));
}

#[test]
fn when_all_are_dead_there_is_no_answer() {
    let dead = dead_address();
    let admin = Admin::start(&[nsqd_flag(dead)]);
    for target in ["/api/topics", "/api/topics/t", "/api/nodes", "/api/counter"] {
        let reply = admin.get(target);
        assert_eq!(reply.status, 502, "{target}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("UPSTREAM_ERROR: failed to query any nsqd: Get "), "{message}");
    }
    assert_eq!(admin.get("/readyz").status, 503);
    assert_eq!(admin.get("/healthz").status, 200);
    let overview = admin.json("/api/overview");
    assert!(overview["message"].as_str().unwrap().starts_with("UPSTREAM_ERROR: "));
}

#[test]
fn a_slow_node_costs_its_deadline_and_no_more() {
    let slow = |request: &str| {
        let stats = request.starts_with("GET /stats");
        stats.then(|| Answer::ok("{}").after(Duration::from_secs(30)))
    };
    let (quick, slow) = (Stub::nsqd("t", |_| None), Stub::nsqd("t", slow));
    let admin = Admin::start(&[
        nsqd_flag(quick.address),
        nsqd_flag(slow.address),
        "--http-client-request-timeout=700ms".to_owned(),
    ]);
    let start = Instant::now();
    let topic = admin.json("/api/topics/t");
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_millis(2500), "{elapsed:?}");
    assert_eq!(topic["nodes"].as_array().unwrap().len(), 1);
    let error = topic["failed"][0]["error"].as_str().unwrap();
    assert!(error.contains("context deadline exceeded"), "{error}");
}

#[test]
fn nonsense_of_a_node_is_its_failure_alone() {
    let odd = |request: &str| {
        let stats = request.starts_with("GET /stats");
        stats.then(|| Answer::ok("<html>not json</html>"))
    };
    let (sane, odd) = (Stub::nsqd("t", |_| None), Stub::nsqd("t", odd));
    let admin = Admin::start(&[nsqd_flag(sane.address), nsqd_flag(odd.address)]);
    let topics = admin.json("/api/topics");
    assert_eq!(topics["topics"], json!(["t"]));
    assert_eq!(topics["failed"][0]["address"], odd.address.to_string());
}

#[test]
fn names_from_the_cluster_are_data() {
    let evil = |request: &str| {
        let name = r#"\"><script>alert(1)</script>&"#;
        let stats = request.starts_with("GET /stats");
        stats.then(|| Answer::ok(format!(r#"{{"topics":[{{"topic_name":"{name}"}}]}}"#)))
    };
    let stub = Stub::nsqd("t", evil);
    let admin = Admin::start(&[nsqd_flag(stub.address)]);
    let reply = admin.get("/api/topics");
    assert_eq!(reply.header("Content-Type"), Some("application/json; charset=utf-8"));
    assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(reply.json()["topics"], json!([r#""><script>alert(1)</script>&"#]));
    // A name in the URL of a page is not in the page.
    let page = admin.get("/topics/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert!(!page.text().contains("alert(1)"), "{}", page.text());
    // It reaches nodes as one parameter.
    admin.get("/api/topics/a%26channel=b/c%23ephemeral");
    let stats = stub.seen().into_iter().filter(|request| request.contains("topic=a"));
    assert!(stats.into_iter().all(|request| request.contains("topic=a%26channel%3Db&")));
}

#[test]
fn lookup_servers_that_disagree_are_found() {
    let cluster = super::Cluster::with_topics();
    let admin = Admin::start(&cluster.lookupd_flags());
    let health = admin.json("/api/health");
    let second = cluster.lookupds[1].0.http.to_string();
    let found = |kind: &str| -> Vec<&Value> {
        let all = health["findings"].as_array().unwrap().iter();
        all.filter(|finding| finding["kind"] == kind).collect()
    };
    assert!(found("lookupd_disagrees").iter().any(|finding| finding["subject"] == second));
    assert_eq!(found("topic_without_producers")[0]["topic"], "idle");
    assert!(
        found("channel_without_consumers").iter().any(|finding| finding["channel"] == "archive")
    );
    assert_eq!(found("topic_paused")[0]["topic"], "clicks");
    assert_eq!(health["nodes"].as_array().unwrap().len(), cluster.brokers.len());
    assert!(health["nodes"][0]["ok"] == true && health["nodes"][0]["health"] == "OK");
    assert_eq!(health["lookupds"][1]["missing_topics"], json!(["clicks", "idle"]));
}
