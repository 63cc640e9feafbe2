//! Every endpoint with every method, and with wrong and right parameters and bodies: what is
//! answered stands in a file, which both programs have to agree with.
//!
//! `SHOAL_TEST_RECORD` with `SHOAL_TEST_PEER` writes that file anew, from what the original
//! answers. Left out is only what the changelog names as different: Go's profiles and its switches
//! for them, and `defer` of `/mpub`, which the original ignores.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::harness::{Broker, HttpConnection, Reply, on_each_peer};

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// Paths of the original, and some that are nearly such or none.
const PATHS: [&str; 47] = [
    "/ping",
    "/info",
    "/stats",
    "/pub",
    "/mpub",
    "/topic/create",
    "/topic/delete",
    "/topic/empty",
    "/topic/pause",
    "/topic/unpause",
    "/channel/create",
    "/channel/delete",
    "/channel/empty",
    "/channel/pause",
    "/channel/unpause",
    "/config/log_level",
    "/config/nsqlookupd_tcp_addresses",
    "/config/max_rdy_count",
    "/config/nope",
    "/ping/",
    "//ping",
    "/PING",
    "/Pub",
    "/pub/",
    "/topic//create",
    "/topic/create/",
    "/Topic/Create",
    "/topic/../ping",
    "/channel/./pause",
    "/CHANNEL/PAUSE/",
    "/config/Log_Level/",
    "/CONFIG/log_level",
    "/debug/pprof",
    "/DEBUG/pprof/heap",
    "/debug/setblockrate/",
    "/",
    "/config",
    "/config/",
    "/config/a/b",
    "/topic",
    "/channel",
    "/put",
    "/create_topic",
    "/debug",
    "/debug/pprof/mutex",
    "/p%69ng",
    "/%70ub",
];

/// The endpoints that take parameters, with their method.
const WITH_PARAMETERS: [(&str, &str); 13] = [
    ("GET", "/stats"),
    ("POST", "/pub"),
    ("POST", "/mpub"),
    ("POST", "/topic/create"),
    ("POST", "/topic/delete"),
    ("POST", "/topic/empty"),
    ("POST", "/topic/pause"),
    ("POST", "/topic/unpause"),
    ("POST", "/channel/create"),
    ("POST", "/channel/delete"),
    ("POST", "/channel/empty"),
    ("POST", "/channel/pause"),
    ("POST", "/channel/unpause"),
];

const QUERIES: [&str; 34] = [
    "",
    "?",
    "?topic",
    "?topic=",
    "?topic=t",
    "?topic=no",
    "?topic=$",
    "?topic=a%20b",
    "?topic=%ff",
    "?topic=%zz",
    "?topic=t;x",
    "?topic=t&topic=$",
    "?topic=$&topic=t",
    "?topic=%23ephemeral",
    "?Topic=t",
    "?channel=c",
    "?topic=t&channel",
    "?topic=t&channel=",
    "?topic=t&channel=c",
    "?topic=t&channel=no",
    "?topic=t&channel=$",
    "?topic=$&channel=$",
    "?topic=no&channel=c",
    "?topic=t&channel=%zz",
    "?topic=t&defer=5",
    "?topic=t&defer=",
    "?topic=t&defer=x",
    "?topic=t&defer=-1",
    "?topic=t&defer=%2B5",
    "?topic=t&defer=3600001",
    "?topic=t&binary=true",
    "?topic=t&binary=false",
    "?topic=t&binary=",
    "?format=json&include_clients=x&include_mem=0",
];

const BODIES: [&str; 4] = ["", "x", "a\nb\n", "\0\0\0\x01\0\0\0\x01x"];

/// Option, and what it is to become.
const SETTINGS: [(&str, &str); 22] = [
    ("log_level", ""),
    ("log_level", "info"),
    ("log_level", "INFO"),
    ("log_level", "warning"),
    ("log_level", "2"),
    ("log_level", " info"),
    ("log_level", "\"info\""),
    ("nsqlookupd_tcp_addresses", ""),
    ("nsqlookupd_tcp_addresses", "[]"),
    ("nsqlookupd_tcp_addresses", "null"),
    ("nsqlookupd_tcp_addresses", "{}"),
    ("nsqlookupd_tcp_addresses", "\"a:1\""),
    ("nsqlookupd_tcp_addresses", "[1]"),
    ("nsqlookupd_tcp_addresses", "[] []"),
    ("nsqlookupd_tcp_addresses", "[\"127.0.0.1:1\"]"),
    ("nsqlookupd_tcp_addresses", "[]"),
    ("max_rdy_count", "5"),
    ("node_id", "5"),
    ("verbose", "true"),
    ("nope", "x"),
    ("nope", ""),
    ("LOG_LEVEL", "info"),
];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/http-sweep.txt")
}

/// What a reply says, in one line; what differs from run to run is left out.
fn line(method: &str, target: &str, body: &str, reply: &Reply) -> String {
    let mut line = format!("{method} {target} {body:?} -> {}", reply.status);
    for name in ["Content-Type", "X-NSQ-Content-Type", "Allow", "Location", "Connection"] {
        if let Some(value) = reply.header(name) {
            let _ = write!(line, " {name}={value:?}");
        }
    }
    let path = target.split('?').next().unwrap();
    let varies = reply.status == 200 && ["/info", "/stats"].contains(&path);
    match (varies, String::from_utf8_lossy(&reply.body)) {
        (true, _) => line.push_str(" …"),
        (false, body) => {
            let _ = write!(line, " {body:?}");
        }
    }
    line + "\n"
}

/// All requests in their order, and what is answered.
fn swept(broker: &Broker) -> String {
    let mut connection = HttpConnection::new(broker.http);
    let mut lines = String::new();
    let mut ask = |method: &str, target: &str, body: &str| {
        if target.starts_with("/mpub") && target.contains("defer=") {
            return;
        }
        for created in ["/topic/create?topic=t", "/channel/create?topic=t&channel=c"] {
            assert_eq!(connection.request("POST", created, b"").status, 200);
        }
        let reply = connection.request(method, target, body.as_bytes());
        if reply.header("Connection").is_some_and(|value| value == "close") {
            connection = HttpConnection::new(broker.http);
        }
        lines.push_str(&line(method, target, body, &reply));
    };
    for path in PATHS {
        METHODS.iter().for_each(|method| ask(method, path, ""));
        ask("POST", &format!("{path}?topic=t&channel=c"), "x");
    }
    for (method, path) in WITH_PARAMETERS {
        for query in QUERIES {
            ask(method, &format!("{path}{query}"), "");
        }
    }
    for body in BODIES {
        for query in QUERIES {
            ask("POST", &format!("/pub{query}"), body);
            ask("POST", &format!("/mpub{query}"), body);
        }
        ask("POST", "/topic/create?topic=t", body);
        ask("POST", "/channel/pause", &format!("topic=t&channel=c{body}"));
        ask("GET", "/ping", body);
    }
    for (option, value) in SETTINGS {
        ask("PUT", &format!("/config/{option}"), value);
        ask("GET", &format!("/config/{option}"), "");
    }
    lines
}

#[test]
fn every_request_is_answered_as_by_the_original() {
    on_each_peer(|peer| {
        let flags = ["--max-msg-size=100", "--max-body-size=200", "--max-rdy-count=7"];
        let swept = swept(&Broker::start(peer, &flags));
        if peer.is_original() && std::env::var_os("SHOAL_TEST_RECORD").is_some() {
            std::fs::write(file(), &swept).unwrap();
        }
        let recorded = std::fs::read_to_string(file()).unwrap();
        let wrong: Vec<(&str, &str)> =
            recorded.lines().zip(swept.lines()).filter(|(wanted, got)| wanted != got).collect();
        assert_eq!(recorded.lines().count(), swept.lines().count());
        let count = wrong.len();
        assert!(
            wrong.is_empty(),
            "{count} answers of {peer:?} are others: {:#?}",
            &wrong[..count.min(20)]
        );
    });
}
