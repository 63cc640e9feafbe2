//! A large cluster: a hundred nodes with two hundred topics of five channels each.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::{Admin, Answer, Stub};
use crate::harness::{eventually, rss_bytes};

const NODES: usize = 100;
const TOPICS: usize = 200;
const CHANNELS: usize = 5;
/// What each node is given.
const DEADLINE: Duration = Duration::from_secs(4);
/// More than what is remembered, and what is read at once, may take.
const RSS_BYTES_MAX: u64 = 400 << 20;

static STATS: LazyLock<String> = LazyLock::new(|| {
    let latency = r#""e2e_processing_latency":{"count":0,"percentiles":null}"#;
    let mut text = r#"{"version":"1.3.0","health":"OK","start_time":1,"topics":["#.to_owned();
    for topic in 0..TOPICS {
        let comma = if topic == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"topic_name":"topic-{topic:03}","channels":["#).unwrap();
        for channel in 0..CHANNELS {
            let comma = if channel == 0 { "" } else { "," };
            write!(
                text,
                r#"{comma}{{"channel_name":"channel-{channel}","depth":1,"backend_depth":0,
                "in_flight_count":0,"deferred_count":0,"message_count":10,"requeue_count":0,
                "timeout_count":0,"client_count":2,"clients":null,"paused":false,{latency}}}"#
            )
            .unwrap();
        }
        write!(
            text,
            r#"],"depth":2,"backend_depth":1,"message_count":10,"message_bytes":100,
            "paused":false,{latency}}}"#
        )
        .unwrap();
    }
    text.push_str("]}");
    text
});

/// A node of the fleet; the answers of slow ones come after a minute.
fn node(slow: bool) -> Stub {
    Stub::start(move |request, address| {
        if request.starts_with("GET /info") {
            let port = address.port();
            return Answer::ok(format!(
                r#"{{"version":"1.3.0","broadcast_address":"127.0.0.1","hostname":"h{port}","http_port":{port},"tcp_port":{port}}}"#
            ));
        }
        let answer = Answer::ok(STATS.as_str());
        if slow { answer.after(Duration::from_secs(60)) } else { answer }
    })
}

/// How long a request took, and its answer.
fn timed(admin: &Admin, target: &str) -> (Duration, serde_json::Value) {
    let start = Instant::now();
    let answer = admin.json(target);
    (start.elapsed(), answer)
}

#[test]
fn a_hundred_nodes_are_shown_at_once() {
    let slow = node(true);
    let nodes: Vec<Stub> = (1..NODES).map(|_| node(false)).chain([slow]).collect();
    let mut flags: Vec<String> =
        nodes.iter().map(|node| format!("--nsqd-http-address={}", node.address)).collect();
    flags.push(format!("--http-client-request-timeout={DEADLINE:?}"));
    flags.push("--poll-interval=2s".to_owned());
    let admin = Admin::start(&flags);
    eventually("all but the slow one were looked at", Duration::from_secs(60), || {
        admin.json("/api/overview")["topics"][0]["node_count"] == NODES as i64 - 1
    });
    // The list of topics with all numbers: from the last poll, so no node can slow it down.
    let (took, overview) = timed(&admin, "/api/overview");
    eprintln!("overview: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let topics = overview["topics"].as_array().unwrap();
    assert_eq!(topics.len(), TOPICS);
    assert_eq!(topics[0]["depth"], 2 * (NODES as i64 - 1));
    assert_eq!(overview["totals"]["client_count"], ((NODES - 1) * TOPICS * CHANNELS * 2) as i64);
    assert_eq!(overview["failed"].as_array().unwrap().len(), 1);
    // What asks all nodes waits for the slow one as long as its deadline, and a little.
    let (took, topic) = timed(&admin, "/api/topics/topic-007");
    eprintln!("topic: {took:?}");
    assert!(took < DEADLINE + Duration::from_secs(3), "{took:?}");
    assert_eq!(topic["failed"].as_array().unwrap().len(), 1);
    assert_eq!(topic["nodes"].as_array().unwrap().len(), NODES - 1);
    std::thread::sleep(Duration::from_secs(6));
    let rss = rss_bytes(admin.pid());
    eprintln!("memory: {} MiB", rss >> 20);
    assert!(rss < RSS_BYTES_MAX, "{} MiB", rss >> 20);
}
