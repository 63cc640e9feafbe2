//! Every endpoint: parameters, statuses, bodies, and what holds on all paths.

use super::{Kind, Lookupd, Producer, on_each_lookupd};

const BAD_REQUEST: &str = r#"{"message":"INVALID_REQUEST"}"#;
const NO_TOPIC: &str = r#"{"message":"MISSING_ARG_TOPIC"}"#;
const BAD_TOPIC: &str = r#"{"message":"INVALID_ARG_TOPIC"}"#;
const NO_CHANNEL: &str = r#"{"message":"MISSING_ARG_CHANNEL"}"#;
const BAD_CHANNEL: &str = r#"{"message":"INVALID_ARG_CHANNEL"}"#;
const NO_NODE: &str = r#"{"message":"MISSING_ARG_NODE"}"#;
const TOPIC_NOT_FOUND: &str = r#"{"message":"TOPIC_NOT_FOUND"}"#;
const CHANNEL_NOT_FOUND: &str = r#"{"message":"CHANNEL_NOT_FOUND"}"#;
const NOT_FOUND: &str = r#"{"message":"NOT_FOUND"}"#;

/// Requests in order on one process: what is asked, status, body.
const TABLE: [(&str, u16, &str); 45] = [
    ("GET /ping", 200, "OK"),
    ("GET /info", 200, r#"{"version":"1.3.0"}"#),
    ("GET /topics", 200, r#"{"topics":[]}"#),
    ("GET /topics?x=%zz", 200, r#"{"topics":[]}"#),
    ("GET /nodes", 200, r#"{"producers":[]}"#),
    ("GET /debug", 200, "{}"),
    ("GET /channels", 400, NO_TOPIC),
    ("GET /channels?topic=%zz", 400, BAD_REQUEST),
    ("GET /channels?topic=nope", 200, r#"{"channels":[]}"#),
    ("GET /channels?topic=", 200, r#"{"channels":[]}"#),
    ("GET /lookup", 400, NO_TOPIC),
    ("GET /lookup?Topic=t", 400, NO_TOPIC),
    ("GET /lookup?topic=a;b", 400, BAD_REQUEST),
    ("GET /lookup?topic=", 404, TOPIC_NOT_FOUND),
    ("GET /lookup?topic=nope", 404, TOPIC_NOT_FOUND),
    ("GET /lookup?topic=%ff", 404, TOPIC_NOT_FOUND),
    ("GET /lookup?topic=*", 404, TOPIC_NOT_FOUND),
    ("POST /topic/create", 400, NO_TOPIC),
    ("POST /topic/create?topic=", 400, BAD_TOPIC),
    ("POST /topic/create?topic=*", 400, BAD_TOPIC),
    ("POST /topic/create?topic=a$b", 400, BAD_TOPIC),
    ("POST /topic/create?topic=%zz", 400, BAD_REQUEST),
    ("POST /topic/create?topic=t&topic=a$b", 200, ""),
    ("POST /topic/create?topic=t", 200, ""),
    ("GET /lookup?topic=t", 200, r#"{"channels":[],"producers":[]}"#),
    ("POST /channel/create", 400, NO_TOPIC),
    ("POST /channel/create?topic=a$b", 400, BAD_TOPIC),
    ("POST /channel/create?topic=t", 400, NO_CHANNEL),
    ("POST /channel/create?topic=t&channel=*", 400, BAD_CHANNEL),
    ("POST /channel/create?topic=u&channel=c", 200, ""),
    ("GET /lookup?topic=u", 200, r#"{"channels":["c"],"producers":[]}"#),
    ("GET /channels?topic=u", 200, r#"{"channels":["c"]}"#),
    ("GET /lookup?topic=*", 200, r#"{"channels":["c"],"producers":[]}"#),
    ("GET /channels?topic=*", 200, r#"{"channels":["c"]}"#),
    ("POST /channel/delete", 400, NO_TOPIC),
    ("POST /channel/delete?topic=u&channel=", 400, BAD_CHANNEL),
    ("POST /channel/delete?topic=u&channel=nope", 404, CHANNEL_NOT_FOUND),
    ("POST /channel/delete?topic=nope&channel=c", 404, CHANNEL_NOT_FOUND),
    ("POST /channel/delete?topic=u&channel=c", 200, ""),
    ("POST /topic/delete", 400, NO_TOPIC),
    ("POST /topic/delete?topic=u", 200, ""),
    ("POST /topic/delete?topic=a$b", 200, ""),
    ("POST /topic/tombstone?node=n", 400, NO_TOPIC),
    ("POST /topic/tombstone?topic=t", 400, NO_NODE),
    ("POST /topic/tombstone?topic=nope&node=n", 200, ""),
];

#[test]
fn requests_in_order() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        for (request, status, body) in TABLE {
            let (method, target) = request.split_once(' ').unwrap();
            let reply = lookupd.request(method, target);
            assert_eq!((reply.status, reply.text()), (status, body), "{kind:?} {request}");
            let v1 = reply.header("X-NSQ-Content-Type");
            assert_eq!(v1.is_none(), target == "/ping", "{kind:?} {request}: {v1:?}");
            let json = body.starts_with('{').then_some("application/json; charset=utf-8");
            if target != "/ping" {
                assert_eq!(reply.header("Content-Type"), json, "{kind:?} {request}");
            }
        }
        assert_eq!(lookupd.names("/topics", "topics"), ["t"]);
    });
}

#[test]
fn unknown_paths_wrong_methods_and_redirects() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        for target in
            ["/", "/stats", "/config/x", "/create_topic", "/tombstone_topic_producer", "/topic"]
        {
            let reply = lookupd.request("GET", target);
            assert_eq!((reply.status, reply.text()), (404, NOT_FOUND), "{kind:?} {target}");
        }
        for (method, target, status, header, value) in [
            ("POST", "/lookup", 405, "Allow", "GET, OPTIONS"),
            ("GET", "/topic/create", 405, "Allow", "OPTIONS, POST"),
            ("OPTIONS", "/topic/tombstone", 200, "Allow", "OPTIONS, POST"),
            ("GET", "/lookup/?topic=t", 301, "Location", "/lookup?topic=t"),
            ("GET", "//Nodes", 301, "Location", "/nodes"),
            ("POST", "/Topic/Create?topic=t", 307, "Location", "/topic/create?topic=t"),
            ("GET", "/debug/pprof/", 301, "Location", "/debug/pprof"),
        ] {
            let reply = lookupd.request(method, target);
            assert_eq!(reply.status, status, "{kind:?} {method} {target}");
            assert_eq!(reply.header(header), Some(value), "{kind:?} {method} {target}");
        }
    });
}

/// The shapes of the answers about a producer, byte by byte.
#[test]
fn a_producer_in_all_answers() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        let mut producer = Producer::identified(&lookupd, 14151);
        producer.command("REGISTER orders metrics");
        let text = |target: &str| lookupd.request("GET", target).text().to_string();
        let lookup = text("/lookup?topic=orders");
        let address = lookup.split('"').nth(9).unwrap().to_string();
        assert!(address.starts_with("127.0.0.1:"), "{lookup}");
        let fields = format!(
            "\"remote_address\":\"{address}\",\"hostname\":\"h\",\
             \"broadcast_address\":\"127.0.0.1\",\"tcp_port\":4150,\"http_port\":14151,\
             \"version\":\"1.3.0\",\"topology_zone\":\"az1\",\"topology_region\":\"r1\""
        );
        let expected = format!("{{\"channels\":[\"metrics\"],\"producers\":[{{{fields}}}]}}");
        assert_eq!(lookup, expected, "{kind:?}");
        assert_eq!(text("/lookup?topic=*"), expected, "{kind:?}");
        let rest = "\"tombstones\":[false],\"topics\":[\"orders\"]";
        assert_eq!(text("/nodes"), format!("{{\"producers\":[{{{fields},{rest}}}]}}"), "{kind:?}");
        let debug = text("/debug");
        let update = debug.split("\"last_update\":").nth(1).unwrap();
        let update = update.split(',').next().unwrap();
        assert_eq!(update.len(), 19, "nanoseconds: {update}");
        let entry = format!(
            "[{{\"broadcast_address\":\"127.0.0.1\",\"hostname\":\"h\",\"http_port\":14151,\
             \"id\":\"{address}\",\"last_update\":{update},\"tcp_port\":4150,\
             \"tombstoned\":false,\"tombstoned_at\":-6795364578871345152,\
             \"topology_region\":\"r1\",\"topology_zone\":\"az1\",\"version\":\"1.3.0\"}}]"
        );
        let expected = format!(
            "{{\"channel:orders:metrics\":{entry},\"client::\":{entry},\"topic:orders:\":{entry}}}"
        );
        assert_eq!(debug, expected, "{kind:?}");
    });
}

/// Deleting tells no producer: it is there again when it registers again.
#[test]
fn deleted_names_come_back_with_a_registration() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        let mut producer = Producer::identified(&lookupd, 1);
        producer.command("REGISTER t c");
        producer.command("REGISTER t d");
        lookupd.post("/channel/delete?topic=t&channel=c");
        assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["d"]);
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1]);
        lookupd.post("/topic/delete?topic=t");
        assert_eq!(lookupd.request("GET", "/lookup?topic=t").status, 404);
        assert_eq!(lookupd.names("/channels?topic=t", "channels"), [""; 0]);
        assert_eq!(lookupd.ports("/nodes"), [1]);
        producer.command("REGISTER t c");
        assert_eq!(lookupd.names("/lookup?topic=t", "channels"), ["c"]);
        assert_eq!(lookupd.ports("/lookup?topic=t"), [1]);
    });
}

/// A wildcard in a write is a mistake that costs everything in the original.
#[test]
fn a_wildcard_deletes_nothing() {
    on_each_lookupd(|kind| {
        let lookupd = Lookupd::start(kind, &[]);
        lookupd.post("/topic/create?topic=t");
        let reply = lookupd.request("POST", "/topic/delete?topic=*");
        match kind {
            Kind::Original => assert!(lookupd.names("/topics", "topics").is_empty()),
            Kind::Shoal => {
                assert_eq!((reply.status, reply.text()), (400, BAD_TOPIC));
                let reply = lookupd.request("POST", "/topic/tombstone?topic=*&node=n");
                assert_eq!((reply.status, reply.text()), (400, BAD_TOPIC));
                assert_eq!(lookupd.names("/topics", "topics"), ["t"]);
            }
        }
    });
}
