//! What admins do to the cluster, and what becomes of it at each node.

use serde_json::json;

use super::{Admin, Answer, Cluster, Stub, dead_address};

#[test]
fn an_action_reaches_every_node_that_has_the_topic() {
    let cluster = Cluster::with_topics();
    let admin = Admin::start(&cluster.lookupd_flags());
    let reply = admin.send("POST", "/api/topics/orders/archive", r#"{"action":"pause"}"#);
    assert_eq!(reply.status, 200);
    let results = reply.json()["results"].clone();
    assert_eq!(results.as_array().unwrap().len(), cluster.brokers.len());
    for broker in &cluster.brokers {
        assert_eq!(broker.channel("orders", "archive")["paused"], true);
        let address = broker.http.to_string();
        let of = |result: &&serde_json::Value| result["address"] == address;
        let result = results.as_array().unwrap().iter().find(of).unwrap();
        assert_eq!((&result["ok"], &result["status"]), (&json!(true), &json!(200)));
    }
    let audit = admin.log_line("AUDIT: pause channel").unwrap();
    assert!(audit.contains(r#"topic="orders" channel="archive""#), "{audit}");
    assert!(audit.contains(&format!("done ok={} failed=0", cluster.brokers.len())), "{audit}");

    admin.send("POST", "/api/topics/orders/archive", r#"{"action":"unpause"}"#);
    admin.send("POST", "/api/topics/orders/archive", r#"{"action":"empty"}"#);
    for broker in &cluster.brokers {
        let channel = broker.channel("orders", "archive");
        assert_eq!((&channel["paused"], &channel["depth"]), (&json!(false), &json!(0)));
    }
    admin.send("POST", "/api/topics", r#"{"topic":"orders","channel":"fresh"}"#);
    assert!(cluster.brokers.iter().all(|broker| broker.channel("orders", "fresh").is_object()));
    admin.send("DELETE", "/api/topics/orders", "");
    assert!(cluster.brokers.iter().all(|broker| broker.topic("orders").is_null()));
    assert_eq!(admin.get("/api/topics/orders").status, 404);
}

#[test]
fn a_half_that_fails_is_told() {
    let fails = |request: &str| {
        let pause = request.starts_with("POST /channel/pause");
        pause.then(|| Answer::status(500, r#"{"message":"INTERNAL_ERROR"}"#))
    };
    let (good, bad) = (Stub::nsqd("t", |_| None), Stub::nsqd("t", fails));
    let flag = |stub: &Stub| format!("--nsqd-http-address={}", stub.address);
    let admin = Admin::start(&[flag(&good), flag(&bad)]);
    let reply = admin.send("POST", "/api/topics/t/c", r#"{"action":"pause"}"#);
    assert_eq!(reply.status, 200, "as the original");
    let json = reply.json();
    let refused = r#"got response 500 X "{\"message\":\"INTERNAL_ERROR\"}""#;
    assert_eq!(json["message"], format!("WARNING: {refused}"));
    let results = json["results"].as_array().unwrap();
    let bad = results.iter().find(|result| result["address"] == bad.address.to_string()).unwrap();
    assert_eq!((&bad["ok"], &bad["status"]), (&json!(false), &json!(500)));
    assert_eq!(bad["error"], refused);
    assert!(results.iter().any(|result| result["ok"] == true));
    assert!(admin.log_line("partly ok=1 failed=1").is_some());
}

#[test]
fn listed_nodes_create_what_the_original_only_pretends_to() {
    let cluster = Cluster::start();
    let admin = Admin::start(&cluster.nsqd_flags());
    assert_eq!(admin.send("POST", "/api/topics", r#"{"topic":"a"}"#).status, 200);
    assert_eq!(admin.send("POST", "/api/topics", r#"{"topic":"b","channel":"c"}"#).status, 200);
    for broker in &cluster.brokers {
        assert!(broker.topic("a").is_object());
        assert!(broker.channel("b", "c").is_object());
    }
}

#[test]
fn a_topic_is_taken_away_from_one_node() {
    let cluster = Cluster::with_topics();
    let admin = Admin::start(&cluster.lookupd_flags());
    let target = format!("/api/nodes/{}", cluster.brokers[0].http);
    let reply = admin.send("DELETE", &target, r#"{"topic":"orders"}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(cluster.brokers[0].topic("orders").is_null());
    assert!(cluster.brokers[1].topic("orders").is_object());
    let nodes = admin.json("/api/nodes")["nodes"].clone();
    let port = cluster.brokers[0].http.port();
    let node = nodes.as_array().unwrap().iter().find(|node| node["http_port"] == port).unwrap();
    let orders = node["topics"].as_array().unwrap().iter().find(|of| of["topic"] == "orders");
    assert_eq!(orders.unwrap()["tombstoned"], true);
    assert_eq!(
        admin.json("/api/topics/orders")["nodes"].as_array().unwrap().len(),
        cluster.brokers.len() - 1
    );
}

#[test]
fn nothing_is_sent_to_an_address_that_is_no_node() {
    let stranger = Stub::start(|_, _| Answer::ok("{}"));
    let node = Stub::nsqd("t", |_| None);
    let admin = Admin::start(&[format!("--nsqd-http-address={}", node.address)]);
    let target = format!("/api/nodes/{}", stranger.address);
    assert_eq!(admin.send("DELETE", &target, r#"{"topic":"t"}"#).status, 404);
    assert_eq!(admin.get(&target).status, 404);
    let body = format!(r#"{{"topic":"t","body":"x","node":"{}"}}"#, stranger.address);
    assert_eq!(admin.send("POST", "/api/publish", &body).status, 404);
    let target = format!("/api/peek?topic=t&channel=c&node={}", stranger.address);
    assert_eq!(admin.json(&target)["messages"], json!([]));
    assert_eq!(stranger.seen(), Vec::<String>::new());
}

#[test]
fn a_message_is_published_once() {
    let cluster = Cluster::with_topics();
    let mut flags = cluster.nsqd_flags();
    flags.insert(0, format!("--nsqd-http-address={}", dead_address()));
    let admin = Admin::start(&flags);
    let second = cluster.brokers[1].http;
    let before = cluster.brokers[1].topic("orders")["message_count"].as_i64().unwrap();
    let body = format!(r#"{{"topic":"orders","body":"hello","node":"{second}"}}"#);
    let reply = admin.send("POST", "/api/publish", &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(cluster.brokers[1].topic("orders")["message_count"], before + 1);
    // Without a node the one that has the topic takes it.
    let reply = admin.send("POST", "/api/publish", r#"{"topic":"clicks","body_base64":"AAE="}"#);
    assert_eq!(reply.json()["results"][0]["address"], second.to_string());
    for (body, status, code) in [
        (r#"{"topic":"a b","body":"x"}"#, 400, "INVALID_TOPIC"),
        (r#"{"topic":"orders","body":""}"#, 400, "MSG_EMPTY"),
        (r#"{"topic":"orders","body":"x","defer_ms":99999999999999}"#, 400, "INVALID_DEFER"),
        ("junk", 400, "INVALID_BODY"),
    ] {
        let reply = admin.send("POST", "/api/publish", body);
        assert_eq!(
            (reply.status, reply.json()["message"].as_str()),
            (status, Some(code)),
            "{body}"
        );
    }
}

#[test]
fn messages_are_shown_where_nodes_offer_it() {
    let offers = |request: &str| {
        let said =
            r#"{"messages":[{"id":"0123456789abcdef","timestamp":5,"attempts":1,"body":"hi"}]}"#;
        request.starts_with("GET /channel/messages").then(|| Answer::ok(said))
    };
    let refuses = |request: &str| {
        let said = r#"{"message":"NOT_FOUND"}"#;
        request.starts_with("GET /channel/messages").then(|| Answer::status(404, said))
    };
    let (new, old) = (Stub::nsqd("t", offers), Stub::nsqd("t", refuses));
    let flag = |stub: &Stub| format!("--nsqd-http-address={}", stub.address);
    let admin = Admin::start(&[flag(&new), flag(&old)]);
    let seen = admin.json("/api/peek?topic=t&channel=c");
    assert_eq!((&seen["supported"], &seen["failed"]), (&json!(true), &json!([])));
    assert_eq!(seen["messages"][0]["body_base64"], "aGk=");
    assert_eq!(seen["messages"][0]["node"], new.address.to_string());
    let admin = Admin::start(&[flag(&old)]);
    assert_eq!(admin.json("/api/peek?topic=t&channel=c")["supported"], false);
    assert_eq!(admin.get("/api/peek?topic=t&channel=c&state=odd").status, 400);
    assert_eq!(admin.get("/api/peek?topic=t").status, 400);
}
