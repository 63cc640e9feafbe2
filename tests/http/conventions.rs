//! What holds on every path: unknown ones, wrong methods, OPTIONS, redirects, headers.

use crate::harness::{Broker, on_each_peer};

const NOT_FOUND: &str = r#"{"message":"NOT_FOUND"}"#;
const NOT_ALLOWED: &str = r#"{"message":"METHOD_NOT_ALLOWED"}"#;
const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

#[test]
fn unknown_paths() {
    let targets = [
        "GET /",
        "GET /nope",
        "POST /put?topic=t",
        "POST /mput?topic=t",
        "POST /create_topic?topic=t",
        "POST /delete_topic?topic=t",
        "POST /empty_topic?topic=t",
        "POST /create_channel?topic=t&channel=c",
        "POST /pause_channel?topic=t&channel=c",
        "GET /topic",
        "GET /topics",
        "GET /config",
        "GET /config/",
        "GET /config/tcp_address/x",
        "OPTIONS /nope",
        "DELETE /nope",
        "GET /debug/pprof/mutex",
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for request in targets {
            let (method, target) = request.split_once(' ').unwrap();
            let reply = broker.request(method, target, b"");
            assert_eq!((reply.status, reply.text()), (404, NOT_FOUND), "{peer:?} {request}");
            assert_eq!(reply.header("Content-Type"), Some(JSON));
            assert_eq!(reply.header("X-NSQ-Content-Type"), Some("nsq; version=1.0"));
        }
    });
}

/// Path, and the methods that its OPTIONS and its 405 name.
const METHODS: [(&str, &str); 16] = [
    ("/ping", "GET, OPTIONS"),
    ("/info", "GET, OPTIONS"),
    ("/stats", "GET, OPTIONS"),
    ("/pub", "OPTIONS, POST"),
    ("/mpub", "OPTIONS, POST"),
    ("/topic/create", "OPTIONS, POST"),
    ("/topic/delete", "OPTIONS, POST"),
    ("/topic/empty", "OPTIONS, POST"),
    ("/topic/pause", "OPTIONS, POST"),
    ("/topic/unpause", "OPTIONS, POST"),
    ("/channel/create", "OPTIONS, POST"),
    ("/channel/delete", "OPTIONS, POST"),
    ("/channel/empty", "OPTIONS, POST"),
    ("/channel/pause", "OPTIONS, POST"),
    ("/channel/unpause", "OPTIONS, POST"),
    ("/config/x", "GET, OPTIONS, PUT"),
];

#[test]
fn methods() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (path, allow) in METHODS {
            let reply = broker.request("OPTIONS", path, b"");
            assert_eq!((reply.status, reply.text()), (200, ""), "{peer:?} {path}");
            assert_eq!(reply.header("Allow"), Some(allow), "{peer:?} {path}");
            for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
                if allow.split(", ").any(|allowed| allowed == method) {
                    continue;
                }
                let reply = broker.request(method, path, b"");
                let got = (reply.status, reply.text(), reply.header("Allow"));
                assert_eq!(got, (405, NOT_ALLOWED, Some(allow)), "{peer:?} {method} {path}");
                assert_eq!(reply.header("Content-Type"), Some(JSON));
            }
        }
    });
}

/// A HEAD gets no body, so that the next response on the connection is found.
#[test]
fn head() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = crate::harness::HttpConnection::new(broker.http);
        connection.send(b"HEAD /ping HTTP/1.1\r\nHost: t\r\n\r\n");
        let head = connection.head();
        assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
        assert_eq!(connection.request("GET", "/ping", b"").text(), "OK");
    });
}

/// Request, status, and where the reply points.
const REDIRECTS: [(&str, u16, &str); 10] = [
    ("GET /ping/", 301, "/ping"),
    ("GET //ping", 301, "/ping"),
    ("GET /PING", 301, "/ping"),
    ("GET /Stats?format=json", 301, "/stats?format=json"),
    ("GET /./ping", 301, "/ping"),
    ("GET /stats/../ping", 301, "/ping"),
    ("POST /pub/?topic=t", 307, "/pub?topic=t"),
    ("POST /PUB?topic=t", 307, "/pub?topic=t"),
    ("POST /Topic/Create?topic=t", 307, "/topic/create?topic=t"),
    ("PUT /CONFIG/log_level", 307, "/config/log_level"),
];

#[test]
fn redirects() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (request, status, location) in REDIRECTS {
            let (method, target) = request.split_once(' ').unwrap();
            let reply = broker.request(method, target, b"");
            let got = (reply.status, reply.header("Location"));
            assert_eq!(got, (status, Some(location)), "{peer:?} {request}");
        }
        assert!(broker.topic("t").is_null(), "a redirect does nothing yet");
    });
}

/// Request, content type, and whether the reply names the NSQ content type.
const HEADERS: [(&str, Option<&str>, bool); 8] = [
    ("GET /ping", Some(TEXT), false),
    ("GET /info", Some(JSON), true),
    ("GET /stats", Some(TEXT), true),
    ("GET /stats?format=json", Some(JSON), true),
    ("POST /pub?topic=t", Some(JSON), true),
    ("POST /topic/create?topic=t", None, true),
    ("POST /topic/create", Some(JSON), true),
    ("POST /mpub?topic=t", Some(TEXT), true),
];

#[test]
fn headers() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (request, content_type, nsq) in HEADERS {
            let (method, target) = request.split_once(' ').unwrap();
            let reply = broker.request(method, target, b"");
            assert_eq!(reply.header("Content-Type"), content_type, "{peer:?} {request}");
            let wanted = nsq.then_some("nsq; version=1.0");
            assert_eq!(reply.header("X-NSQ-Content-Type"), wanted, "{peer:?} {request}");
            assert_eq!(reply.header("Server"), None);
            assert!(reply.header("Date").is_some_and(|date| date.ends_with(" GMT")));
        }
    });
}
