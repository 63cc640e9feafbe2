//! What counts as JSON, and what a field's value may look like.

use super::answer;
use crate::harness::{Broker, on_each_peer};

const NOT_JSON: &str = "error: E_BAD_BODY IDENTIFY failed to decode JSON body";

fn check(rows: &[(&str, &str)]) {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (json, wanted) in rows {
            assert_eq!(&answer(&broker, json), wanted, "{peer:?} {json}");
        }
    });
}

#[test]
fn accepted() {
    let accepted = [
        "{}",
        "null",
        " \t\r\n{ } \n",
        r#"{"unknown":{"a":[1,2,{}]},"x":1e5}"#,
        r#"{"short_id":1,"long_id":{}}"#,
        r#"{"client_id":null,"heartbeat_interval":null,"snappy":null,"sample_rate":null}"#,
        r#"{"HEARTBEAT_INTERVAL":1000,"Sample_Rate":5}"#,
        r#"{"heartbeat_interval":1,"heartbeat_interval":1000}"#,
        r#"{"heartbeat_interval":1,"Heartbeat_Interval":1000}"#,
        r#"{"heartbeat_interval":-1}"#,
        r#"{"heartbeat_interval":0}"#,
        r#"{"heartbeat_interval":-0}"#,
        r#"{"client_id":"a\u00e9\ud83d\ude00\n\"","hostname":""}"#,
        r#"{"client_id":"\ud800"}"#,
        r#"{"feature_negotiation":false,"snappy":true,"deflate":true,"tls_v1":true}"#,
        r#"{"snappy":true}"#,
        r#"{"deflate_level":-5,"sample_rate":99}"#,
        r#"{"client_id":"<ff>"}"#,
    ];
    check(&accepted.map(|json| (json, "OK")));
}

#[test]
fn refused() {
    let refused = [
        "{",
        "}",
        "[]",
        "1",
        "\"{}\"",
        "true",
        " ",
        "{}x",
        "{}{}",
        "{},",
        "{'a':1}",
        "{a:1}",
        r#"{"a":1,}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":NaN}"#,
        r#"{"a":tru}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12"}"#,
        r#"{"heartbeat_interval":1000.0}"#,
        r#"{"heartbeat_interval":1e3}"#,
        r#"{"heartbeat_interval":"1000"}"#,
        r#"{"heartbeat_interval":true}"#,
        r#"{"heartbeat_interval":[]}"#,
        r#"{"heartbeat_interval":9223372036854775808}"#,
        r#"{"sample_rate":2147483648}"#,
        r#"{"sample_rate":1.5}"#,
        r#"{"msg_timeout":"1s"}"#,
        r#"{"snappy":"true"}"#,
        r#"{"snappy":1}"#,
        r#"{"feature_negotiation":"yes"}"#,
        r#"{"client_id":5}"#,
        r#"{"hostname":{}}"#,
        r#"{"heartbeat_interval":"x","heartbeat_interval":1000}"#,
    ];
    check(&refused.map(|json| (json, NOT_JSON)));
}

/// Deep nesting is JSON, but not a way to overflow the broker's stack.
#[test]
fn deep_nesting() {
    let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let (fine, too_deep) = (deep(100), deep(200_000));
    check(&[(&fine, "OK"), (&too_deep, NOT_JSON)]);
}

/// Text fields arrive in the statistics, unescaped and replaced where they are not UTF-8.
#[test]
fn text_in_statistics() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = crate::harness::Client::new(&broker);
        let json = r#"{"client_id":"a\u00e9<>&","hostname":"h\"\\","user_agent":"u/1",
            "topology_zone":"z","topology_region":"r"}"#;
        client.send(&crate::harness::identify(json));
        client.ok();
        client.subscribe("texts", "c");
        let stats = broker.channel("texts", "c")["clients"][0].clone();
        assert_eq!(stats["client_id"], "aé<>&");
        assert_eq!(stats["hostname"], "h\"\\");
        assert_eq!(stats["user_agent"], "u/1");
        assert_eq!(stats["topology_zone"], "z");
        assert_eq!(stats["topology_region"], "r");
        let mut plain = crate::harness::Client::new(&broker);
        plain.subscribe("texts", "before-identify");
        let stats = broker.channel("texts", "before-identify")["clients"][0].clone();
        assert_eq!(
            (&stats["client_id"], &stats["hostname"]),
            (&"127.0.0.1".into(), &"127.0.0.1".into())
        );
        let mut empty = crate::harness::Client::new(&broker);
        empty.send(&crate::harness::identify("{}"));
        empty.ok();
        empty.subscribe("texts", "empty");
        let stats = broker.channel("texts", "empty")["clients"][0].clone();
        assert_eq!((&stats["client_id"], &stats["hostname"]), (&"".into(), &"".into()));
    });
}
