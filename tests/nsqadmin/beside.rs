//! Every question to the original and to ours over the same cluster, field by field.
//!
//! Where they differ, a rule says so and why. A rule that nothing needs is an error as well.

use std::collections::BTreeSet;

use serde_json::Value;

use super::program::original_admin;
use super::{Admin, Cluster};

/// A difference that is wanted: in the answers to targets that begin so, at fields whose path ends
/// so, and why.
struct Rule {
    target: &'static str,
    field: &'static str,
    #[allow(dead_code, reason = "it is for who reads the table")]
    why: &'static str,
}

const fn rule(target: &'static str, field: &'static str, why: &'static str) -> Rule {
    Rule { target, field, why }
}

const RULES: &[Rule] = &[
    rule("/api/", ".failed", "ours says who failed, as data"),
    rule("/api/", ".message_bytes", "ours passes on what nodes tell"),
    rule("/api/topics/orders", ".channels", "the original's sums overwrite its first row"),
    rule("/api/topics/orders", ".nodes.channels", "as above"),
    rule(
        "/api/topics/clicks",
        ".message",
        "a lookup server that does not know a topic is no failure",
    ),
    rule("/api/topics/clicks/", "", "a channel that nobody has is 404, not a crash"),
    rule("/api/topics/orders/nope", "", "a channel that nobody has is 404, not a crash"),
    rule("/api/topics/nope", "", "an unknown topic is 404"),
    rule("/api/topics/idle", "", "a topic that no node has is shown with nothing in it"),
    rule("/api/nodes", ".missing_lookupds", "ours says who does not list it"),
    rule("/api/nodes/127", ".info", "ours tells more about a node"),
    rule("/api/nodes/127", ".health", "ours tells more about a node"),
    rule("/api/nodes/127", ".memory", "ours tells more about a node"),
    rule("/api/nodes/127", ".producers", "ours tells more about a node"),
    rule("/api/nodes/x:1", ".results", "errors have one shape"),
];

/// Paths of fields that differ.
fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => differences(&path, a, b, found),
                    _ => found.push(path),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let (a, b) = (sorted(a), sorted(b));
            for (at, (a, b)) in a.iter().zip(&b).enumerate() {
                differences(&format!("{path}[{at}]"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        _ => found.push(path.to_owned()),
    }
}

/// The original's rows come in any order.
fn sorted(list: &[Value]) -> Vec<Value> {
    let mut list = list.to_vec();
    let key = |row: &Value| {
        let text = |name: &str| row[name].to_string();
        (text("node"), text("topic_name"), text("channel_name"), text("http_port"))
    };
    list.sort_by_key(key);
    list
}

/// `.nodes[0].depth` as `.nodes.depth`.
fn without_indices(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

fn compare(targets: &[String], original: &Admin, ours: &Admin) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut needed = vec![false; RULES.len()];
    for target in targets {
        let (theirs, mine) = (original.get(target), ours.get(target));
        let mut found = Vec::new();
        if theirs.status != mine.status {
            found.push(format!(" status {} != {}", theirs.status, mine.status));
        } else if theirs.header("Content-Type") == Some("application/json; charset=utf-8") {
            differences("", &theirs.json(), &mine.json(), &mut found);
        } else if theirs.body != mine.body {
            found.push(" body".to_owned());
        }
        for difference in found {
            let field = without_indices(&difference);
            let fits = |rule: &Rule| {
                let named = field.ends_with(rule.field) || field.starts_with(rule.field);
                target.starts_with(rule.target) && named
            };
            match RULES.iter().position(fits) {
                Some(at) => needed[at] = true,
                None => complaints.push(format!("{target}{difference}")),
            }
        }
    }
    for (rule, _) in RULES.iter().zip(&needed).filter(|(_, needed)| !**needed) {
        complaints.push(format!("nothing needs the rule {} {}", rule.target, rule.field));
    }
    complaints
}

#[test]
fn answers_are_the_originals_but_for_its_defects() {
    let Some(path) = original_admin() else {
        eprintln!("SKIPPED: SHOAL_TEST_ADMIN does not name the original nsqadmin");
        return;
    };
    let cluster = Cluster::with_topics();
    let flags = cluster.lookupd_flags();
    let original = Admin::start_original(&path, &flags);
    let ours = Admin::start(&flags);
    let mut targets: Vec<String> = [
        "/api/topics",
        "/api/topics?inactive=true",
        "/api/topics?inactive=1",
        "/api/topics/orders",
        "/api/topics/clicks",
        "/api/topics/nope",
        "/api/topics/idle",
        "/api/topics/orders/archive",
        "/api/topics/orders/second",
        "/api/topics/orders/nope",
        "/api/topics/idle/ch",
        "/api/topics/clicks/x",
        "/api/nodes",
        "/api/nodes/x:1",
        "/api/counter",
        "/api/graphite",
        "/api/graphite?metric=rate",
        "/api/graphite?metric=rate&target=x",
        "/api/topics?a=%zz",
        "/config/log_level",
        "/config/log_prefix",
        "/config/base_path",
        "/config/statsd_interval",
        "/config/statsd_prefix",
        "/config/admin_users",
        "/config/nsqd_http_addresses",
        "/config/nsqlookupd_http_addresses",
        "/config/http_client_request_timeout",
        "/config/proxy_graphite",
        "/config/config",
        "/config/verbose",
        "/config/nope",
        "/ping",
        "/nope",
        "/static/nope.js",
        "/render?target=x",
    ]
    .map(str::to_owned)
    .to_vec();
    targets.extend(cluster.brokers.iter().map(|broker| format!("/api/nodes/{}", broker.http)));
    let complaints = compare(&targets, &original, &ours);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn listed_nodes_are_answered_for_like_the_original_does() {
    let Some(path) = original_admin() else {
        eprintln!("SKIPPED: SHOAL_TEST_ADMIN does not name the original nsqadmin");
        return;
    };
    let cluster = Cluster::with_topics();
    let flags = cluster.nsqd_flags();
    let original = Admin::start_original(&path, &flags);
    let ours = Admin::start(&flags);
    for target in ["/api/topics", "/api/topics?inactive=true", "/api/counter", "/api/nodes"] {
        let mut found = Vec::new();
        differences("", &original.json(target), &ours.json(target), &mut found);
        found.retain(|field| !field.ends_with("failed") && !field.ends_with("missing_lookupds"));
        assert_eq!(found, Vec::<String>::new(), "{target}");
    }
}

#[test]
fn mutations_have_the_originals_statuses() {
    let Some(path) = original_admin() else {
        eprintln!("SKIPPED: SHOAL_TEST_ADMIN does not name the original nsqadmin");
        return;
    };
    // Each has a cluster of its own, since what is done to one is not done to the other.
    let clusters = [Cluster::with_topics(), Cluster::with_topics()];
    let admins = [
        Admin::start_original(&path, &clusters[0].lookupd_flags()),
        Admin::start(&clusters[1].lookupd_flags()),
    ];
    for (method, target, body) in [
        ("POST", "/api/topics", r#"{"topic":"new"}"#),
        ("POST", "/api/topics", r#"{"topic":"orders","channel":"fresh"}"#),
        ("POST", "/api/topics", r#"{"topic":"<script>"}"#),
        ("POST", "/api/topics", r#"{"topic":"t","channel":"a b"}"#),
        ("POST", "/api/topics", ""),
        ("POST", "/api/topics", "junk"),
        ("POST", "/api/topics", "[]"),
        ("POST", "/api/topics/orders", r#"{"action":"pause"}"#),
        ("POST", "/api/topics/orders", r#"{"action":"unpause"}"#),
        ("POST", "/api/topics/orders", r#"{"action":"empty"}"#),
        ("POST", "/api/topics/orders", r#"{"action":"explode"}"#),
        ("POST", "/api/topics/orders/archive", r#"{"action":"pause"}"#),
        ("POST", "/api/topics/orders/nope", r#"{"action":"pause"}"#),
        ("DELETE", "/api/topics/orders/fresh", ""),
        ("DELETE", "/api/topics/orders/nope", ""),
        ("DELETE", "/api/topics/orders", ""),
        ("DELETE", "/api/nodes/127.0.0.1:1", "junk"),
        ("DELETE", "/api/nodes/127.0.0.1:1", r#"{"topic":"a b"}"#),
        ("PUT", "/config/log_level", "debug"),
        ("PUT", "/config/log_level", "loud"),
        ("PUT", "/config/log_level", ""),
        ("PUT", "/config/base_path", "/x"),
        ("PUT", "/config/nsqlookupd_http_addresses", "{}"),
        ("PUT", "/api/topics", ""),
        ("DELETE", "/api/topics", ""),
        ("POST", "/ping", ""),
    ] {
        let [theirs, ours] = [&admins[0], &admins[1]].map(|admin| admin.send(method, target, body));
        assert_eq!(theirs.status, ours.status, "{method} {target} {body}: {}", ours.text());
        let ok = theirs.status == 200 && target.starts_with("/api");
        if ok && theirs.json()["message"] == "" {
            assert_eq!(ours.json()["message"], "", "{method} {target} {body}");
        }
    }
    assert_eq!(clusters[0].brokers[0].topic("orders"), clusters[1].brokers[0].topic("orders"));
}
