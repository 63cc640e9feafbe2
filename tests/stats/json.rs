//! The JSON form of the statistics.

use serde_json::{Value, json};

use super::known_flow;
use crate::harness::{Broker, Client, on_each_peer};

/// The whole document after the known flow, with what differs from run to run masked.
const WHOLE: &str = concat!(
    r#"{"version":"1.3.0","health":"OK","start_time":0,"topics":["#,
    r#"{"topic_name":"empty","channels":[{"channel_name":"a","depth":0,"backend_depth":0,"#,
    r#""in_flight_count":0,"deferred_count":0,"message_count":0,"requeue_count":0,"#,
    r#""timeout_count":0,"client_count":0,"clients":[],"paused":true,"#,
    r#""e2e_processing_latency":{"count":0,"percentiles":null}}],"depth":0,"backend_depth":0,"#,
    r#""message_count":0,"message_bytes":0,"paused":true,"#,
    r#""e2e_processing_latency":{"count":0,"percentiles":null}},"#,
    r#"{"topic_name":"orders","channels":[{"channel_name":"archive","depth":1,"#,
    r#""backend_depth":0,"in_flight_count":1,"deferred_count":1,"message_count":4,"#,
    r#""global_msg_count":3,"requeue_count":1,"timeout_count":0,"client_count":1,"clients":["#,
    r#"{"client_id":"c","hostname":"ch","version":"V2","remote_address":"","state":3,"#,
    r#""ready_count":0,"in_flight_count":1,"message_count":3,"finish_count":1,"#,
    r#""requeue_count":1,"connect_ts":0,"sample_rate":0,"deflate":false,"snappy":false,"#,
    r#""user_agent":"sub/1","topology_zone":"z","topology_region":"","tls":false,"#,
    r#""tls_cipher_suite":"","tls_version":"","tls_negotiated_protocol":"","#,
    r#""tls_negotiated_protocol_is_mutual":false}],"paused":false,"#,
    r#""e2e_processing_latency":{"count":0,"percentiles":null}}],"depth":0,"backend_depth":0,"#,
    r#""message_count":4,"message_bytes":10,"paused":false,"#,
    r#""e2e_processing_latency":{"count":0,"percentiles":null}}],"#,
    r#""memory":{"heap_objects":0,"heap_idle_bytes":0,"heap_in_use_bytes":0,"#,
    r#""heap_released_bytes":0,"gc_pause_usec_100":0,"gc_pause_usec_99":0,"#,
    r#""gc_pause_usec_95":0,"next_gc_bytes":0,"gc_total_runs":0},"#,
    r#""producers":[{"client_id":"p","hostname":"ph","version":"V2","remote_address":"","#,
    r#""state":0,"ready_count":0,"in_flight_count":0,"message_count":0,"finish_count":0,"#,
    r#""requeue_count":0,"connect_ts":0,"sample_rate":0,"deflate":false,"snappy":false,"#,
    r#""user_agent":"pub/1","topology_zone":"","topology_region":"","#,
    r#""pub_counts":[{"topic":"orders","count":4}],"tls":false,"tls_cipher_suite":"","#,
    r#""tls_version":"","tls_negotiated_protocol":"","#,
    r#""tls_negotiated_protocol_is_mutual":false}]}"#,
);

/// Sets what differs from run to run to nothing, after a look at its type.
fn mask(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            let in_memory = key == "memory";
            for (name, field) in fields.iter_mut() {
                if in_memory || matches!(name.as_str(), "start_time" | "connect_ts") {
                    assert!(field.is_u64(), "{name} is {field}");
                    *field = json!(0);
                } else if name == "remote_address" {
                    assert!(field.as_str().is_some_and(|text| text.starts_with("127.0.0.1:")));
                    *field = json!("");
                } else {
                    mask(field, name);
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| mask(entry, key)),
        _ => {}
    }
}

#[test]
fn every_field_in_order() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let _clients = known_flow(&broker);
        let reply = broker.request("GET", "/stats?format=json", b"");
        let mut stats = reply.json();
        assert_eq!(serde_json::to_string(&stats).unwrap(), reply.text(), "compact, as it came");
        mask(&mut stats, "");
        assert_eq!(serde_json::to_string(&stats).unwrap(), WHOLE);
        let connected = reply.json()["producers"][0]["connect_ts"].as_u64().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(now.as_secs().abs_diff(connected) < 120, "connected at {connected}");
    });
}

/// Query, and a view of the answer: topics with their channels, clients and producers.
const FILTERS: [(&str, &str); 14] = [
    ("", r#"{"empty":{"a":0},"orders":{"archive":1}} producers 1 memory true"#),
    ("&topic=orders", r#"{"orders":{"archive":1}} producers 1 memory true"#),
    ("&topic=empty", r#"{"empty":{"a":0}} producers 1 memory true"#),
    ("&topic=nope", "null producers null memory true"),
    ("&channel=archive", r#"{"orders":{"archive":1}} producers 1 memory true"#),
    ("&channel=nope", "{} producers 1 memory true"),
    ("&topic=orders&channel=a", "{} producers 1 memory true"),
    (
        "&include_clients=false",
        r#"{"empty":{"a":null},"orders":{"archive":null}} producers null memory true"#,
    ),
    (
        "&include_clients=0",
        r#"{"empty":{"a":null},"orders":{"archive":null}} producers null memory true"#,
    ),
    ("&include_clients=no", r#"{"empty":{"a":0},"orders":{"archive":1}} producers 1 memory true"#),
    (
        "&include_clients=true",
        r#"{"empty":{"a":0},"orders":{"archive":1}} producers 1 memory true"#,
    ),
    ("&include_mem=false", r#"{"empty":{"a":0},"orders":{"archive":1}} producers 1 memory false"#),
    ("&include_mem=0&topic=orders", r#"{"orders":{"archive":1}} producers 1 memory false"#),
    ("&include_mem=x", r#"{"empty":{"a":0},"orders":{"archive":1}} producers 1 memory true"#),
];

fn view(stats: &Value) -> String {
    let count = |list: &Value| list.as_array().map_or(Value::Null, |all| json!(all.len()));
    let channels = |topic: &Value| -> Value {
        let all = topic["channels"].as_array().unwrap();
        let pairs = all.iter().map(|channel| {
            (channel["channel_name"].as_str().unwrap().to_string(), count(&channel["clients"]))
        });
        Value::Object(pairs.collect())
    };
    let topics = match stats["topics"].as_array() {
        None => Value::Null,
        Some(all) => Value::Object(
            all.iter()
                .map(|topic| (topic["topic_name"].as_str().unwrap().to_string(), channels(topic)))
                .collect(),
        ),
    };
    let memory = stats.get("memory").is_some();
    format!("{topics} producers {} memory {memory}", count(&stats["producers"]))
}

#[test]
fn filters() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let _clients = known_flow(&broker);
        for (query, wanted) in FILTERS {
            let reply = broker.request("GET", &format!("/stats?format=json{query}"), b"");
            assert_eq!(view(&reply.json()), wanted, "{peer:?} {query}");
        }
        let refused = broker.request("GET", "/stats?format=json&topic=%zz", b"");
        assert_eq!((refused.status, refused.text()), (400, r#"{"message":"INVALID_REQUEST"}"#));
        for format in ["", "?format=JSON", "?format=", "?format=text"] {
            let reply = broker.request("GET", &format!("/stats{format}"), b"");
            assert!(reply.text().starts_with("nsqd v1.3.0 "), "{format}");
        }
        // Without clients their number is still there.
        let reply = broker.request("GET", "/stats?format=json&include_clients=false", b"");
        assert_eq!(reply.json()["topics"][1]["channels"][0]["client_count"], 1);
    });
}

/// Topics and channels are sorted by name, as bytes.
#[test]
fn sorted() {
    let names = ["b", "a", "Z", "_x", "a.b", "a-b", "a0", "0", "aa"];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for name in names {
            broker.post(&format!("/topic/create?topic={name}"));
            broker.post(&format!("/channel/create?topic=b&channel={name}"));
        }
        let stats = broker.request("GET", "/stats?format=json", b"").json();
        let topics: Vec<Value> = list(&stats["topics"], "topic_name");
        let of_b = topics.iter().position(|name| name == "b").unwrap();
        let channels = list(&stats["topics"][of_b]["channels"], "channel_name");
        let mut sorted = names;
        sorted.sort_unstable();
        assert_eq!(topics, sorted);
        assert_eq!(channels, sorted);
    });
}

fn list(entries: &Value, field: &str) -> Vec<Value> {
    entries.as_array().unwrap().iter().map(|entry| entry[field].clone()).collect()
}

/// A connection that publishes and consumes is in both lists; one that only idles, in none.
#[test]
fn producers() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let _idle = Client::new(&broker);
        let reply = broker.request("GET", "/stats?format=json", b"").json();
        assert_eq!(reply["producers"], Value::Null);
        let mut both = Client::consumer(&broker, "t", "c", 0);
        both.publish("t", b"x");
        both.publish("t", b"y");
        assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
        let reply = broker.request("GET", "/stats?format=json", b"").json();
        let counts = json!([{"topic": "t", "count": 2}]);
        assert_eq!(reply["producers"].as_array().map(Vec::len), Some(1));
        assert_eq!(reply["producers"][0]["pub_counts"], counts);
        assert_eq!(reply["producers"][0]["state"], 3);
        let client = &reply["topics"][0]["channels"][0]["clients"][0];
        assert_eq!(client["pub_counts"], counts);
        drop(both);
        broker.await_channel("t", "c", "client_count", 0);
        let reply = broker.request("GET", "/stats?format=json", b"").json();
        assert_eq!(reply["producers"], Value::Null);
    });
}

/// With a topic asked for, every producer is there, but with its publishes to that topic only.
#[test]
fn producers_of_other_topics() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut clients = Vec::new();
        // As many topics as it takes to have some on each shard.
        for number in 0..8 {
            let mut client = Client::new(&broker);
            client.publish(&format!("t{number}"), b"x");
            clients.push(client);
        }
        for number in 0..8 {
            let topic = format!("t{number}");
            let target = format!("/stats?format=json&topic={topic}");
            let reply = broker.request("GET", &target, b"").json();
            let producers = reply["producers"].as_array().unwrap();
            assert_eq!(producers.len(), 8, "{topic}");
            let counts: Vec<_> = producers.iter().filter_map(|one| one.get("pub_counts")).collect();
            assert_eq!(counts, [&json!([{"topic": topic, "count": 1}])]);
        }
        let reply = broker.request("GET", "/stats?format=json&topic=t9", b"").json();
        assert_eq!((&reply["topics"], &reply["producers"]), (&Value::Null, &Value::Null));
    });
}

/// Every kind of publish counts its messages and bytes.
#[test]
fn counts() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        client.publish("t", b"12345");
        client.send(&crate::harness::mpub("t", &[b"1", b"22", b"333"]));
        client.ok();
        client.publish_deferred("t", 100, b"1234567");
        assert_eq!(broker.request("POST", "/pub?topic=t", b"12").status, 200);
        assert_eq!(broker.request("POST", "/mpub?topic=t", b"1\n2\n3\n").status, 200);
        assert_eq!(broker.request("POST", "/pub?topic=t&defer=10", b"12").status, 200);
        let stats = broker.topic("t");
        assert_eq!((&stats["message_count"], &stats["message_bytes"]), (&10.into(), &25.into()));
        let producers = broker.request("GET", "/stats?format=json", b"").json();
        assert_eq!(producers["producers"][0]["pub_counts"], json!([{"topic": "t", "count": 5}]));
    });
}

/// With percentiles asked for, finished messages are measured.
#[test]
fn latency() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--e2e-processing-latency-percentile=0.5,0.99"]);
        let mut client = Client::consumer(&broker, "t", "c", 20);
        for _ in 0..10 {
            client.send(&crate::harness::publish("t", b"x"));
        }
        let mut ids = Vec::new();
        while ids.len() < 10 {
            if let crate::harness::Frame::Message(message) = client.frame() {
                ids.push(message.id);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        for id in &ids {
            client.fin(id);
        }
        broker.await_channel("t", "c", "in_flight_count", 0);
        let topic = broker.topic("t");
        for place in [&topic, &topic["channels"][0]] {
            let latency = &place["e2e_processing_latency"];
            assert_eq!(latency["count"], 10);
            let quantiles = latency["percentiles"].as_array().unwrap();
            assert_eq!(quantiles.len(), 2);
            for (entry, quantile) in quantiles.iter().zip([0.99, 0.5]) {
                assert_eq!(entry["quantile"].as_f64(), Some(quantile));
                let value = entry["value"].as_f64().unwrap();
                assert!((2.9e8..2e10).contains(&value), "{value} ns");
            }
        }
    });
}
