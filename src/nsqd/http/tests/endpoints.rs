//! Every row of the endpoint table but publishing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use shards::stats::ShardStats;

use super::super::stats::PAGE_MAX;
use super::super::testing::{
    CHANNEL_ACTIONS, Connection, FakeDesk, TOPIC_ACTIONS, ask, channel, example_stats, facts,
    facts_with, get, level_cell, post, request, short, topic, without_date,
};

fn desk() -> FakeDesk {
    let desk = FakeDesk::new(facts());
    desk.put(
        0,
        ShardStats { topics: vec![topic("have", vec![channel("c")])], ..Default::default() },
    );
    desk
}

fn code(status: u16, code: &str) -> String {
    format!("{status}|{{\"message\":\"{code}\"}}")
}

#[test]
fn ping_tells_health_in_plain_text() {
    let desk = desk();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";
    let response = ask(&desk, "GET /ping HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(response, format!("{head}Content-Length: 2\r\n\r\nOK"));
    super::super::desk::Desk::facts(&desk).health.set(0, Some("disk full".to_owned()));
    assert_eq!(get(&desk, "/ping"), "500|NOK - disk full");
    let stats = get(&desk, "/stats?format=json&include_mem=0");
    assert!(stats.starts_with(r#"200|{"version":"1.3.0","health":"NOK - disk full","#), "{stats}");
}

#[test]
fn info_has_the_original_fields_in_order() {
    let expected = concat!(
        r#"200|{"version":"1.3.0","broadcast_address":"127.0.0.1","hostname":"vm","#,
        r#""http_port":14111,"tcp_port":14110,"start_time":1795417140,"#,
        r#""max_heartbeat_interval":60000000000,"max_output_buffer_size":65536,"#,
        r#""max_output_buffer_timeout":30000000000,"max_deflate_level":6,"#,
        r#""topology_zone":"az1","topology_region":"r1"}"#
    );
    assert_eq!(get(&desk(), "/info"), expected);
}

#[test]
fn topics_are_created() {
    let desk = desk();
    let response = ask(&desk, &request("POST", "/topic/create?topic=a", ""));
    let head = "HTTP/1.1 200 OK\r\nX-Nsq-Content-Type: nsq; version=1.0\r\n";
    assert_eq!(response, format!("{head}Content-Length: 0\r\n\r\n"));
    assert_eq!(desk.asked(), ["0 create a"]);
    assert_eq!(post(&desk, "/topic/create?topic=%zz", ""), code(400, "INVALID_REQUEST"));
    assert_eq!(post(&desk, "/topic/create", ""), code(400, "MISSING_ARG_TOPIC"));
    assert_eq!(post(&desk, "/topic/create?topic=$", ""), code(400, "INVALID_TOPIC"));
    assert_eq!(desk.asked(), [""; 0]);
    desk.refuse();
    assert_eq!(post(&desk, "/topic/create?topic=a", ""), code(503, "EXITING"));
}

#[test]
fn topics_are_deleted_emptied_and_paused() {
    for action in TOPIC_ACTIONS {
        let desk = desk();
        let path = format!("/topic/{}", format!("{action:?}").to_lowercase());
        assert_eq!(post(&desk, &format!("{path}?topic=have"), ""), "200|");
        assert_eq!(desk.asked(), [format!("0 {action:?} have")]);
        assert_eq!(post(&desk, &format!("{path}?topic=no"), ""), code(404, "TOPIC_NOT_FOUND"));
        assert_eq!(post(&desk, &path, ""), code(400, "MISSING_ARG_TOPIC"));
        assert_eq!(post(&desk, &format!("{path}?a;b"), ""), code(400, "INVALID_REQUEST"));
        let invalid = post(&desk, &format!("{path}?topic=a$"), "");
        let empty = action == shards::request::TopicAction::Empty;
        let expected =
            if empty { code(400, "INVALID_TOPIC") } else { code(404, "TOPIC_NOT_FOUND") };
        assert_eq!(invalid, expected, "{action:?}");
        desk.refuse();
        assert_eq!(post(&desk, &format!("{path}?topic=have"), ""), code(503, "EXITING"));
    }
}

#[test]
fn channels_are_created_deleted_emptied_and_paused() {
    let paths = CHANNEL_ACTIONS.map(|action| format!("{action:?}")).into_iter();
    for action in paths.chain(["create".to_owned()]) {
        let desk = desk();
        let path = format!("/channel/{}", action.to_lowercase());
        assert_eq!(post(&desk, &format!("{path}?topic=have&channel=c"), ""), "200|");
        assert_eq!(desk.asked(), [format!("0 {action} have/c")]);
        let faults = [
            ("?a;b", 400, "INVALID_REQUEST"),
            ("?channel=$", 400, "MISSING_ARG_TOPIC"),
            ("?topic=$&channel=$", 400, "INVALID_ARG_TOPIC"),
            ("?topic=no", 400, "MISSING_ARG_CHANNEL"),
            ("?topic=no&channel=", 400, "INVALID_ARG_CHANNEL"),
            ("?topic=no&channel=c", 404, "TOPIC_NOT_FOUND"),
        ];
        for (query, status, message) in faults {
            assert_eq!(post(&desk, &format!("{path}{query}"), ""), code(status, message));
        }
        let unknown = post(&desk, &format!("{path}?topic=have&channel=no"), "");
        let created = action == "create";
        assert_eq!(
            unknown,
            if created { "200|".to_owned() } else { code(404, "CHANNEL_NOT_FOUND") }
        );
    }
}

#[test]
fn stats_in_json_keep_the_original_order() {
    let desk = FakeDesk::new(facts());
    let example = example_stats();
    let [orders, paused] = <[_; 2]>::try_from(example.topics).expect("two topics");
    desk.put(1, ShardStats { topics: vec![orders], ..Default::default() });
    desk.put(
        0,
        ShardStats { topics: vec![paused], producers: example.producers, ..Default::default() },
    );
    let expected = include_str!("stats.json").trim_end();
    assert_eq!(get(&desk, "/stats?format=json&include_mem=false"), format!("200|{expected}"));
    let all = get(&desk, "/stats?format=json");
    let json: Value = serde_json::from_str(&all[4..]).expect("JSON");
    let memory = json["memory"].as_object().expect("an object");
    assert_eq!(memory.len(), 9);
    assert!(all.contains(r#""memory":{"heap_objects":0,"heap_idle_bytes":"#), "{all}");
}

#[test]
fn stats_are_filtered() {
    let desk = FakeDesk::new(facts());
    desk.put(0, example_stats());
    let stats = |query: &str| {
        let body = get(&desk, &format!("/stats?format=json&include_mem=0{query}"));
        serde_json::from_str::<Value>(&body[4..]).expect("JSON")
    };
    let names = |stats: &Value| {
        let topics = stats["topics"].as_array().expect("an array").iter();
        topics.map(|topic| topic["topic_name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&stats("&topic=orders")), ["orders"]);
    assert_eq!(names(&stats("&channel=archive")), ["orders"]);
    assert_eq!(names(&stats("&topic=&channel=")), ["orders", "with_chan"]);
    let unknown = stats("&topic=nothing");
    assert_eq!((&unknown["topics"], &unknown["producers"]), (&Value::Null, &Value::Null));
    assert_eq!(stats("&topic=nothing&channel=archive")["topics"], Value::Null);
    let lacking = stats("&topic=orders&channel=nothing");
    assert_eq!(lacking["topics"], serde_json::json!([]));
    assert!(lacking["producers"].is_array());
    for no in ["false", "0"] {
        let stats = stats(&format!("&include_clients={no}"));
        assert_eq!(stats["producers"], Value::Null);
        assert_eq!(stats["topics"][0]["channels"][0]["clients"], Value::Null);
        assert_eq!(stats["topics"][0]["channels"][0]["client_count"], 2);
    }
    for yes in ["true", "1", "no", ""] {
        assert!(stats(&format!("&include_clients={yes}"))["producers"].is_array());
    }
    assert_eq!(get(&desk, "/stats?a;b"), code(400, "INVALID_REQUEST"));
    let text = get(&desk, "/stats?format=JSON&topic=nothing");
    assert!(text.ends_with("\nTopics: None\n\nProducers: None\n"), "{text}");
}

#[test]
fn a_page_that_does_not_come_is_not_waited_for_for_ever() {
    for path in ["/stats", "/metrics"] {
        let desk = FakeDesk::new(facts());
        desk.mute();
        let mut connection = Connection::new(&desk);
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!((connection.received().as_str(), desk.waiting()), ("", 1));
        connection.advance(PAGE_MAX - Duration::from_millis(1));
        assert_eq!(connection.received(), "");
        connection.advance(Duration::from_millis(1));
        assert_eq!(short(&connection.received()), code(503, "TOO_MANY_REQUESTS"));
        assert_eq!(desk.waiting(), 0);
    }
}

#[test]
fn metrics_are_ordered_with_their_details() {
    let desk = FakeDesk::new(facts());
    let ordered = |query: &str| get(&desk, &format!("/metrics{query}"));
    assert_eq!(ordered(""), "200|Metrics(Detail { clients: false, shards: false })");
    assert_eq!(ordered("?detail=shards"), "200|Metrics(Detail { clients: false, shards: true })");
    let both = "200|Metrics(Detail { clients: true, shards: true })";
    assert_eq!(ordered("?detail=clients,shards"), both);
    assert_eq!(ordered("?detail=topics"), code(400, "INVALID_DETAIL"));
    let answer = ask(&desk, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.contains("\r\nContent-Type: text/plain; version=0.0.4\r\n"), "{answer}");
    desk.refuse();
    assert_eq!(get(&desk, "/stats"), code(500, "INTERNAL_ERROR"));
}

#[test]
fn options_are_shown() {
    let desk = desk();
    assert_eq!(get(&desk, "/config/data_path"), "200|/d");
    assert_eq!(get(&desk, "/config/msg_timeout"), "200|60000000000");
    assert_eq!(get(&desk, "/config/snappy"), "200|true");
    assert_eq!(get(&desk, "/config/log_level"), "200|2");
    assert_eq!(get(&desk, "/config/nsqlookupd_tcp_addresses"), "200|[]");
    assert_eq!(get(&desk, "/config/node_id"), code(400, "INVALID_OPTION"));
    assert_eq!(get(&desk, "/config"), code(404, "NOT_FOUND"));
    assert_eq!(get(&desk, "/config/"), code(404, "NOT_FOUND"));
    let empty = ask(&desk, "GET /config/topology_zone HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nX-Nsq-Content-Type: nsq; version=1.0\r\n";
    assert_eq!(empty, format!("{head}Content-Length: 0\r\n\r\n"));
}

#[test]
fn two_options_are_settable() {
    let (level, set) = level_cell();
    let desk = FakeDesk::new(facts_with(set));
    let put = |option: &str, value: &str| {
        short(&ask(&desk, &request("PUT", &format!("/config/{option}"), value)))
    };
    assert_eq!(put("log_level", "Error"), "200|4");
    assert_eq!(level.load(Ordering::Relaxed), 4);
    assert_eq!(put("log_level", "warning"), code(400, "INVALID_VALUE"));
    assert_eq!(put("log_level", ""), code(413, "INVALID_VALUE"));
    assert_eq!(put("nothing", ""), code(413, "INVALID_VALUE"));
    assert_eq!(put("log_level", &"x".repeat(101)), code(413, "INVALID_VALUE"));
    assert_eq!(put("log_level", &"x".repeat(100)), code(400, "INVALID_VALUE"));
    assert_eq!(put("nsqlookupd_tcp_addresses", r#"["a:1"]"#), r#"200|["a:1"]"#);
    assert_eq!(get(&desk, "/config/nsqlookupd_tcp_addresses"), r#"200|["a:1"]"#);
    assert_eq!(put("nsqlookupd_tcp_addresses", "null"), "200|null");
    assert_eq!(put("nsqlookupd_tcp_addresses", "a:1"), code(400, "INVALID_VALUE"));
    assert_eq!(put("data_path", "/e"), code(400, "INVALID_OPTION"));
    assert_eq!(put("nothing", "x"), code(400, "INVALID_OPTION"));
}

#[test]
fn debugging_says_what_it_cannot_do() {
    let desk = desk();
    assert!(get(&desk, "/debug/pprof/cmdline").starts_with("200|"));
    let reason = get(&desk, "/debug/pprof/heap");
    assert!(reason.starts_with(r#"404|{"message":"NOT_FOUND: Go profiles"#), "{reason}");
    assert_eq!(get(&desk, "/debug/pprof/mutex"), code(404, "NOT_FOUND"));
    let put = |uri: &str| short(&ask(&desk, &request("PUT", uri, "")));
    assert_eq!(
        put("/debug/setblockrate?rate=abc"),
        "400|invalid block rate : strconv.Atoi: parsing \"abc\": invalid syntax"
    );
    assert_eq!(
        put("/debug/setblockrate?rate=99999999999999999999"),
        "400|invalid block rate : strconv.Atoi: parsing \"99999999999999999999\": \
         value out of range"
    );
    assert_eq!(
        put("/debug/setblockrate"),
        "400|invalid block rate : strconv.Atoi: parsing \"\": invalid syntax"
    );
    assert!(put("/debug/setblockrate?rate=1").starts_with("501|"));
    let freed = ask(&desk, &request("POST", "/debug/freememory", ""));
    assert_eq!(without_date(&freed), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}
