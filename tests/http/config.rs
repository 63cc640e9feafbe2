//! `/config`: reading options by their configuration key, and the two that may be changed.

use super::check;
use crate::harness::{Broker, on_each_peer};

const BAD_OPTION: &str = r#"{"message":"INVALID_OPTION"}"#;
const BAD_VALUE: &str = r#"{"message":"INVALID_VALUE"}"#;

#[test]
fn reading() {
    let flags = ["--node-id=7", "--max-rdy-count=11", "--msg-timeout=90s", "--snappy=false"];
    check(
        &flags,
        |_| {},
        &[
            ("GET /config/id", 200, "7"),
            ("GET /config/max_rdy_count", 200, "11"),
            ("GET /config/msg_timeout", 200, "90000000000"),
            ("GET /config/snappy", 200, "false"),
            ("GET /config/deflate", 200, "true"),
            ("GET /config/log_level", 200, "2"),
            ("GET /config/broadcast_address", 200, "127.0.0.1"),
            ("GET /config/statsd_address", 200, ""),
            ("GET /config/nsqlookupd_tcp_addresses", 200, "[]"),
            ("GET /config/mem_queue_size", 200, "10000"),
            ("GET /config/tls_required", 200, "0"),
            ("GET /config/tls_min_version", 200, "769"),
            ("GET /config/tcp_address", 200, "127.0.0.1:0"),
            ("GET /config/node_id", 400, BAD_OPTION),
            ("GET /config/lookupd_tcp_address", 400, BAD_OPTION),
            ("GET /config/verbose", 400, BAD_OPTION),
            ("GET /config/version", 400, BAD_OPTION),
            ("GET /config/config", 400, BAD_OPTION),
            ("GET /config/max-rdy-count", 400, BAD_OPTION),
            ("GET /config/nope", 400, BAD_OPTION),
        ],
    );
}

/// Key, new value, status, reply.
const CHANGES: [(&str, &str, u16, &str); 13] = [
    ("log_level", "debug", 200, "1"),
    ("log_level", "WARN", 200, "3"),
    ("log_level", "fatal", 200, "5"),
    ("log_level", "Info", 200, "2"),
    ("log_level", "warning", 400, BAD_VALUE),
    ("log_level", "2", 400, BAD_VALUE),
    ("log_level", "", 413, BAD_VALUE),
    ("nope", "x", 400, BAD_OPTION),
    ("max_rdy_count", "5", 400, BAD_OPTION),
    ("nope", "", 413, BAD_VALUE),
    ("nsqlookupd_tcp_addresses", "x", 400, BAD_VALUE),
    ("nsqlookupd_tcp_addresses", "{}", 400, BAD_VALUE),
    ("nsqlookupd_tcp_addresses", "[]", 200, "[]"),
];

#[test]
fn changing() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-msg-size=1000"]);
        for (key, value, status, wanted) in CHANGES {
            let target = format!("/config/{key}");
            let reply = broker.request("PUT", &target, value.as_bytes());
            assert_eq!((reply.status, reply.text()), (status, wanted), "{peer:?} {key} {value}");
            if status == 200 {
                assert_eq!(broker.request("GET", &target, b"").text(), wanted);
            }
        }
        let long = vec![b'x'; 1001];
        assert_eq!(broker.request("PUT", "/config/log_level", &long).status, 413);
    });
}
