//! Publishing over HTTP: open as in the original, unless it is asked to be closed.

use super::{Answer, AuthServer};
use crate::harness::{Asked, Broker, HttpConnection, Reply, on_each_peer, on_each_shoal};

#[test]
fn publishing_over_http_is_open() {
    on_each_peer(|peer| {
        let server = AuthServer::start(|_| Answer::Status(403, String::new()));
        let broker = Broker::start(peer, &[&server.flag()]);
        for target in ["/pub?topic=t", "/mpub?topic=t"] {
            assert_eq!(broker.request("POST", target, b"x").status, 200);
        }
        assert!(server.seen().is_empty());
    });
}

fn post(broker: &Broker, target: &str, authorization: &str) -> Reply {
    let mut connection = HttpConnection::new(broker.http);
    let header = match authorization {
        "" => String::new(),
        value => format!("Authorization: {value}\r\n"),
    };
    let head = format!("POST {target} HTTP/1.1\r\nHost: t\r\n{header}Content-Length: 1\r\n\r\nx");
    connection.send(head.as_bytes());
    connection.response()
}

/// Grants publishing to topics that begin with `a` to those who say `good`.
fn script(asked: &Asked) -> Answer {
    match () {
        () if asked.line.contains("secret=good") => {
            Answer::grant(60, r#"{"topic":"^a","channels":[""],"permissions":["publish"]}"#)
        }
        () if asked.line.contains("secret=none") => Answer::grant(60, ""),
        () if asked.line.contains("secret=short") => Answer::everything(1),
        () if asked.line.contains("secret=broken") => Answer::Status(500, String::new()),
        () => Answer::Status(403, "{\"message\":\"no\"}".to_string()),
    }
}

#[test]
fn with_require_auth_only_who_is_granted_it_publishes() {
    on_each_shoal("a flag of Shoal's own", |peer| {
        let server = AuthServer::start(script);
        let broker = Broker::start(peer, &[&server.flag(), "--http-require-auth"]);
        for path in ["/pub", "/mpub"] {
            for (topic, authorization, status, text) in [
                ("a1", "Bearer good", 200, "OK"),
                ("a1", "bearer good", 200, "OK"),
                ("b", "Bearer good", 403, r#"{"message":"UNAUTHORIZED"}"#),
                ("a2", "Bearer none", 403, r#"{"message":"UNAUTHORIZED"}"#),
                ("a2", "Bearer other", 403, r#"{"message":"AUTH_FAILED"}"#),
                ("a2", "Bearer broken", 503, r#"{"message":"AUTH_FAILED"}"#),
                ("a2", "", 401, r#"{"message":"AUTH_REQUIRED"}"#),
                ("a2", "Basic Z29vZDo=", 401, r#"{"message":"AUTH_REQUIRED"}"#),
                ("a/2", "Bearer good", 400, r#"{"message":"INVALID_TOPIC"}"#),
            ] {
                let reply = post(&broker, &format!("{path}?topic={topic}"), authorization);
                assert_eq!((reply.status, reply.text()), (status, text), "{path} {authorization}");
                let challenge = (status == 401).then_some("Bearer");
                assert_eq!(reply.header("WWW-Authenticate"), challenge);
            }
        }
        assert_eq!(broker.topic("a1")["message_count"], 4);
        assert!(broker.topic("b").is_null() && broker.topic("a2").is_null());
        assert_eq!(broker.log_count("good"), 0);
        // Everything else stays as it is.
        assert_eq!(broker.request("GET", "/stats", b"").status, 200);
    });
}

#[test]
fn grants_over_http_are_remembered_until_they_end() {
    on_each_shoal("a flag of Shoal's own", |peer| {
        let server = AuthServer::start(script);
        let broker = Broker::start(peer, &[&server.flag(), "--http-require-auth", "--shards=1"]);
        for _ in 0..20 {
            assert_eq!(post(&broker, "/pub?topic=a", "Bearer good").status, 200);
        }
        let asked = server.seen().len();
        assert!((1..=2).contains(&asked), "each of up to two shards asks once: {asked}");
        assert_eq!(post(&broker, "/pub?topic=a", "Bearer short").status, 200);
        let asked = server.seen().len();
        std::thread::sleep(std::time::Duration::from_millis(1200));
        assert_eq!(post(&broker, "/pub?topic=a", "Bearer short").status, 200);
        assert_eq!(server.seen().len(), asked + 1);
    });
}
