//! The reply to a negotiating client, byte for byte.

use crate::harness::{Broker, Client, Peer, identify, on_each_peer};

/// The default reply; a row names the pieces that differ.
const DEFAULT: &str = concat!(
    r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"#,
    r#""sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250,"topology_region":"","topology_zone":""}"#,
);

/// What the client asks for besides negotiation, and what changes in the reply.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

/// What the broker's own flags change in every reply.
type Base = [(&'static str, &'static str)];

fn check(flags: &[&str], base: &Base, rows: &[Row]) {
    on_each_peer(|peer| check_on(peer, flags, base, rows));
}

fn check_on(peer: Peer, flags: &[&str], base: &Base, rows: &[Row]) {
    let broker = Broker::start(peer, flags);
    for (asked, changes) in rows {
        let mut wanted = DEFAULT.to_string();
        for (from, to) in base.iter().chain(*changes) {
            assert!(wanted.contains(from), "{from}");
            wanted = wanted.replacen(from, to, 1);
        }
        let mut client = Client::new(&broker);
        client.send(&identify(&format!("{{\"feature_negotiation\":true{asked}}}")));
        let got = client.frame().describe();
        assert_eq!(got, wanted.replace('<', "<3c>"), "{peer:?} {asked}");
    }
}

#[test]
fn effective_values() {
    check(
        &[],
        &[],
        &[
            ("", &[]),
            (r#","client_id":"x","hostname":"y","user_agent":"z","unknown":1"#, &[]),
            (r#","heartbeat_interval":1000"#, &[]),
            (r#","msg_timeout":5000"#, &[(r#""msg_timeout":60000"#, r#""msg_timeout":5000"#)]),
            (r#","msg_timeout":0"#, &[]),
            (r#","sample_rate":42"#, &[(r#""sample_rate":0"#, r#""sample_rate":42"#)]),
            (r#","output_buffer_size":64"#, &[("16384", "64")]),
            (r#","output_buffer_size":0"#, &[]),
            (r#","output_buffer_size":-1"#, &[("16384", "1"), (":250,", ":0,")]),
            (
                r#","output_buffer_size":-1,"output_buffer_timeout":500"#,
                &[("16384", "1"), (":250,", ":0,")],
            ),
            (r#","output_buffer_timeout":-1"#, &[(":250,", ":0,")]),
            (r#","output_buffer_timeout":25"#, &[(":250,", ":25,")]),
            (r#","tls_v1":true"#, &[]),
            (r#","topology_region":"r","topology_zone":"z""#, &[]),
            (r#","deflate_level":3"#, &[]),
        ],
    );
}

#[test]
fn effective_compression() {
    check(
        &[],
        &[],
        &[
            (r#","snappy":true"#, &[(r#""snappy":false"#, r#""snappy":true"#)]),
            (r#","deflate":true"#, &[(r#""deflate":false"#, r#""deflate":true"#)]),
            (
                r#","deflate":true,"deflate_level":3"#,
                &[(r#""deflate":false,"deflate_level":6"#, r#""deflate":true,"deflate_level":3"#)],
            ),
            (
                r#","deflate":true,"deflate_level":9"#,
                &[(r#""deflate":false"#, r#""deflate":true"#)],
            ),
            (
                r#","deflate":true,"deflate_level":-3"#,
                &[(r#""deflate":false"#, r#""deflate":true"#)],
            ),
        ],
    );
}

/// Flags that show in every reply.
const SHOWN: [&str; 7] = [
    "--max-rdy-count=11",
    "--max-msg-timeout=2m",
    "--msg-timeout=3s",
    "--max-deflate-level=4",
    "--output-buffer-timeout=50ms",
    "--topology-region=<&r>",
    "--topology-zone=z\"\\é",
];

/// How they show.
const SHOWN_AS: &Base = &[
    (":2500", ":11"),
    (":900000", ":120000"),
    (":60000", ":3000"),
    (r#""deflate_level":6,"max_deflate_level":6"#, r#""deflate_level":4,"max_deflate_level":4"#),
    (r#"output_buffer_timeout":250"#, r#"output_buffer_timeout":50"#),
    (r#""topology_region":"""#, r#""topology_region":"\u003c\u0026r\u003e""#),
    (r#""topology_zone":"""#, r#""topology_zone":"z\"\\é""#),
];

#[test]
fn options_show() {
    check(&SHOWN, SHOWN_AS, &[("", &[])]);
}

#[test]
fn options_bound_compression() {
    check(
        &SHOWN,
        SHOWN_AS,
        &[
            (
                r#","deflate":true,"deflate_level":9"#,
                &[(r#""deflate":false"#, r#""deflate":true"#)],
            ),
            (
                r#","deflate":true,"deflate_level":2"#,
                &[(r#""deflate":false,"deflate_level":4"#, r#""deflate":true,"deflate_level":2"#)],
            ),
        ],
    );
}

/// A compression that the broker has off is reported so, and cannot conflict with the other.
#[test]
fn compression_off() {
    check(
        &["--deflate=false", "--snappy=false"],
        &[],
        &[(r#","deflate":true"#, &[]), (r#","snappy":true,"deflate":true,"deflate_level":3"#, &[])],
    );
}

#[test]
fn deflate_off() {
    check(
        &["--deflate=false"],
        &[],
        &[(r#","snappy":true,"deflate":true"#, &[(r#""snappy":false"#, r#""snappy":true"#)])],
    );
}

/// Without compression levels are bounded all the same.
#[test]
fn levels_without_compression() {
    on_each_peer(|peer| {
        let off = ["--snappy=false", "--deflate=false"];
        let rows: [Row; 8] = [
            (r#","snappy":true"#, &[]),
            (r#","deflate":true"#, &[]),
            (r#","deflate":true,"deflate_level":3"#, &[]),
            (r#","deflate":true,"deflate_level":9"#, &[]),
            (r#","deflate":true,"deflate_level":-3"#, &[]),
            (r#","snappy":true,"deflate":true"#, &[]),
            (r#","snappy":true,"deflate":true,"deflate_level":1"#, &[]),
            (r#","snappy":true,"sample_rate":7"#, &[(r#""sample_rate":0"#, r#""sample_rate":7"#)]),
        ];
        check_on(peer, &off, &[], &rows);
        let wide = [&off[..], &["--max-deflate-level=9"]].concat();
        let level = [(r#""max_deflate_level":6"#, r#""max_deflate_level":9"#)];
        check_on(peer, &wide, &level, &rows[..4]);
    });
}

/// Asking again before SUB is allowed and answered with what holds then.
#[test]
fn asked_twice() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        client.send(&identify("{}"));
        client.ok();
        client.publish("twice", b"x");
        client.send(&identify(r#"{"feature_negotiation":true,"msg_timeout":1500}"#));
        client.expect(&DEFAULT.replace(":60000", ":1500"));
        client.send(&identify(r#"{"feature_negotiation":true}"#));
        client.expect(&DEFAULT.replace(":60000", ":1500"));
        client.alive();
    });
}
