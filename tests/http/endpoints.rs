//! Every administrative endpoint: what it wants, and what it says when that is missing.

use super::check;
use crate::harness::{Broker, Client, on_each_peer};

const BAD_REQUEST: &str = r#"{"message":"INVALID_REQUEST"}"#;
const NO_TOPIC: &str = r#"{"message":"MISSING_ARG_TOPIC"}"#;
const BAD_TOPIC: &str = r#"{"message":"INVALID_TOPIC"}"#;
const BAD_ARG_TOPIC: &str = r#"{"message":"INVALID_ARG_TOPIC"}"#;
const NO_CHANNEL: &str = r#"{"message":"MISSING_ARG_CHANNEL"}"#;
const BAD_CHANNEL: &str = r#"{"message":"INVALID_ARG_CHANNEL"}"#;
const TOPIC_NOT_FOUND: &str = r#"{"message":"TOPIC_NOT_FOUND"}"#;
const CHANNEL_NOT_FOUND: &str = r#"{"message":"CHANNEL_NOT_FOUND"}"#;

#[test]
fn topic_create() {
    check(
        &[],
        |_| {},
        &[
            ("POST /topic/create", 400, NO_TOPIC),
            ("POST /topic/create?", 400, NO_TOPIC),
            ("POST /topic/create?Topic=t", 400, NO_TOPIC),
            ("POST /topic/create?topic=", 400, BAD_TOPIC),
            ("POST /topic/create?topic", 400, BAD_TOPIC),
            ("POST /topic/create?topic=a$b", 400, BAD_TOPIC),
            ("POST /topic/create?topic=a%20b", 400, BAD_TOPIC),
            ("POST /topic/create?topic=a+b", 400, BAD_TOPIC),
            ("POST /topic/create?topic=%ff", 400, BAD_TOPIC),
            ("POST /topic/create?topic=%23ephemeral", 400, BAD_TOPIC),
            ("POST /topic/create?topic=%zz", 400, BAD_REQUEST),
            ("POST /topic/create?topic=t;x=1", 400, BAD_REQUEST),
            ("POST /topic/create?topic=t%3Bx", 400, BAD_TOPIC),
            ("POST /topic/create?topic=t", 200, ""),
            ("POST /topic/create?topic=t", 200, ""),
            ("POST /topic/create?topic=%74wo&topic=a$b", 200, ""),
            ("POST /topic/create?x=1&topic=e%23ephemeral&y", 200, ""),
            ("POST /topic/create?topic=a$b&topic=t", 400, BAD_TOPIC),
        ],
    );
}

#[test]
fn topic_delete() {
    let prepare = |broker: &Broker| broker.post("/topic/create?topic=t");
    check(
        &[],
        prepare,
        &[
            ("POST /topic/delete", 400, NO_TOPIC),
            ("POST /topic/delete?topic=%", 400, BAD_REQUEST),
            ("POST /topic/delete?topic=", 404, TOPIC_NOT_FOUND),
            ("POST /topic/delete?topic=a$b", 404, TOPIC_NOT_FOUND),
            ("POST /topic/delete?topic=nope", 404, TOPIC_NOT_FOUND),
            ("POST /topic/delete?topic=t", 200, ""),
            ("POST /topic/delete?topic=t", 404, TOPIC_NOT_FOUND),
        ],
    );
}

#[test]
fn topic_empty() {
    let prepare = |broker: &Broker| broker.post("/topic/create?topic=t");
    check(
        &[],
        prepare,
        &[
            ("POST /topic/empty", 400, NO_TOPIC),
            ("POST /topic/empty?topic=t;", 400, BAD_REQUEST),
            ("POST /topic/empty?topic=", 400, BAD_TOPIC),
            ("POST /topic/empty?topic=a$b", 400, BAD_TOPIC),
            ("POST /topic/empty?topic=nope", 404, TOPIC_NOT_FOUND),
            ("POST /topic/empty?topic=t", 200, ""),
            ("POST /topic/empty?topic=t", 200, ""),
        ],
    );
}

#[test]
fn topic_pause() {
    let prepare = |broker: &Broker| broker.post("/topic/create?topic=t");
    check(
        &[],
        prepare,
        &[
            ("POST /topic/pause", 400, NO_TOPIC),
            ("POST /topic/unpause", 400, NO_TOPIC),
            ("POST /topic/pause?topic=%x", 400, BAD_REQUEST),
            ("POST /topic/pause?topic=", 404, TOPIC_NOT_FOUND),
            ("POST /topic/pause?topic=a$b", 404, TOPIC_NOT_FOUND),
            ("POST /topic/unpause?topic=nope", 404, TOPIC_NOT_FOUND),
            ("POST /topic/pause?topic=t", 200, ""),
            ("POST /topic/pause?topic=t", 200, ""),
            ("POST /topic/unpause?topic=t", 200, ""),
            ("POST /topic/unpause?topic=t", 200, ""),
        ],
    );
}

/// The five channel endpoints look at their parameters alike.
#[test]
fn channel_parameters() {
    let rows: [(&str, u16, &str); 12] = [
        ("", 400, NO_TOPIC),
        ("?channel=c", 400, NO_TOPIC),
        ("?topic=%", 400, BAD_REQUEST),
        ("?topic=t&channel=a;b", 400, BAD_REQUEST),
        ("?topic=&channel=c", 400, BAD_ARG_TOPIC),
        ("?topic=a$b&channel=c", 400, BAD_ARG_TOPIC),
        ("?topic=a$b", 400, BAD_ARG_TOPIC),
        ("?topic=t", 400, NO_CHANNEL),
        ("?topic=nope", 400, NO_CHANNEL),
        ("?topic=t&channel=", 400, BAD_CHANNEL),
        ("?topic=nope&channel=a$b", 400, BAD_CHANNEL),
        ("?topic=nope&channel=c", 404, TOPIC_NOT_FOUND),
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=t");
        for action in ["create", "delete", "empty", "pause", "unpause"] {
            for (query, status, body) in rows {
                let target = format!("/channel/{action}{query}");
                let reply = broker.request("POST", &target, b"");
                assert_eq!((reply.status, reply.text()), (status, body), "{peer:?} {target}");
            }
        }
        assert!(broker.topic("nope").is_null());
    });
}

#[test]
fn channel_life() {
    let prepare = |broker: &Broker| broker.post("/topic/create?topic=t");
    check(
        &[],
        prepare,
        &[
            ("POST /channel/delete?topic=t&channel=c", 404, CHANNEL_NOT_FOUND),
            ("POST /channel/empty?topic=t&channel=c", 404, CHANNEL_NOT_FOUND),
            ("POST /channel/pause?topic=t&channel=c", 404, CHANNEL_NOT_FOUND),
            ("POST /channel/unpause?topic=t&channel=c", 404, CHANNEL_NOT_FOUND),
            ("POST /channel/create?topic=t&channel=c", 200, ""),
            ("POST /channel/create?channel=c&topic=t", 200, ""),
            ("POST /channel/create?topic=t&channel=e%23ephemeral", 200, ""),
            ("POST /channel/empty?topic=t&channel=c", 200, ""),
            ("POST /channel/pause?topic=t&channel=c", 200, ""),
            ("POST /channel/pause?topic=t&channel=c", 200, ""),
            ("POST /channel/unpause?topic=t&channel=c", 200, ""),
            ("POST /channel/unpause?topic=t&channel=c", 200, ""),
            ("POST /channel/delete?topic=t&channel=c", 200, ""),
            ("POST /channel/delete?topic=t&channel=c", 404, CHANNEL_NOT_FOUND),
        ],
    );
}

/// Parameters are read from the query alone; a form in the body is not looked at.
#[test]
fn forms_are_ignored() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = crate::harness::HttpConnection::new(broker.http);
        connection.send(
            b"POST /topic/create HTTP/1.1\r\nHost: t\r\nContent-Length: 7\r\n\
              Content-Type: application/x-www-form-urlencoded\r\n\r\ntopic=t",
        );
        let reply = connection.response();
        assert_eq!((reply.status, reply.text()), (400, NO_TOPIC));
    });
}

/// `/info` names the version, the real ports, and the limits; its fields have an order.
#[test]
fn info() {
    on_each_peer(|peer| {
        let flags = ["--max-heartbeat-interval=30s", "--max-output-buffer-size=70000"];
        let broker = Broker::start(peer, &flags);
        let reply = broker.request("GET", "/info", b"");
        let info = reply.json();
        let hostname = info["hostname"].as_str().unwrap();
        let start_time = info["start_time"].as_i64().unwrap();
        let wanted = format!(
            "{{\"version\":\"1.3.0\",\"broadcast_address\":\"127.0.0.1\",\
             \"hostname\":\"{hostname}\",\"http_port\":{},\"tcp_port\":{},\
             \"start_time\":{start_time},\"max_heartbeat_interval\":30000000000,\
             \"max_output_buffer_size\":70000,\"max_output_buffer_timeout\":30000000000,\
             \"max_deflate_level\":6,\"topology_zone\":\"\",\"topology_region\":\"\"}}",
            broker.http.port(),
            broker.tcp.port(),
        );
        assert_eq!(reply.text(), wanted);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs() as i64 - start_time;
        assert!((0..120).contains(&age), "started {age} s ago");
    });
}

/// `/ping` is plain text and says OK.
#[test]
fn ping() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let reply = broker.request("GET", "/ping", b"");
        assert_eq!((reply.status, reply.text()), (200, "OK"));
        assert_eq!(reply.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("X-NSQ-Content-Type"), None);
        let mut client = Client::new(&broker);
        client.alive();
    });
}
