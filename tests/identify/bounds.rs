//! The bounds of every numeric field, on both sides of each edge.

use super::answer;
use crate::harness::{Broker, on_each_peer};

/// Field, name in the error, accepted values, refused values.
type Field = (&'static str, &'static str, &'static [i64], &'static [i64]);

fn check(flags: &[&str], fields: &[Field]) {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, flags);
        for (field, name, accepted, refused) in fields {
            for value in *accepted {
                let got = answer(&broker, &format!("{{\"{field}\":{value}}}"));
                assert_eq!(got, "OK", "{peer:?} {field} {value}");
            }
            for value in *refused {
                let got = answer(&broker, &format!("{{\"{field}\":{value}}}"));
                let wanted = format!("error: E_BAD_BODY IDENTIFY {name} ({value}) is invalid");
                assert_eq!(got, wanted, "{peer:?} {field} {value}");
            }
        }
    });
}

#[test]
fn defaults() {
    check(
        &[],
        &[
            (
                "heartbeat_interval",
                "heartbeat interval",
                &[-1, 0, 1000, 30_000, 60_000],
                &[-2, 1, 999, 60_001, i64::MAX, i64::MIN],
            ),
            (
                "output_buffer_timeout",
                "output buffer timeout",
                &[-1, 0, 25, 250, 30_000],
                &[-2, 1, 24, 30_001, i64::MAX],
            ),
            (
                "output_buffer_size",
                "output buffer size",
                &[-1, 0, 64, 16_384, 65_536],
                &[-2, 1, 63, 65_537, i64::MIN],
            ),
            ("sample_rate", "sample rate", &[0, 1, 99], &[-1, 100, 2_147_483_647, -2_147_483_648]),
            (
                "msg_timeout",
                "msg timeout",
                &[0, 1000, 60_000, 900_000],
                &[-1, -1000, 1, 999, 900_001, i64::MAX],
            ),
            ("deflate_level", "", &[-1, 0, 1, 6, 9, 10, i64::MAX, i64::MIN], &[]),
        ],
    );
}

#[test]
fn options_move_them() {
    check(
        &[
            "--max-heartbeat-interval=5s",
            "--min-output-buffer-timeout=100ms",
            "--max-output-buffer-timeout=1s",
            "--max-output-buffer-size=1000",
            "--max-msg-timeout=5s",
            "--msg-timeout=2s",
        ],
        &[
            ("heartbeat_interval", "heartbeat interval", &[1000, 5000], &[999, 5001]),
            ("output_buffer_timeout", "output buffer timeout", &[100, 1000], &[99, 1001]),
            ("output_buffer_size", "output buffer size", &[64, 1000], &[63, 1001]),
            ("msg_timeout", "msg timeout", &[1000, 5000], &[999, 5001]),
        ],
    );
}

/// With several bad values the first in the broker's own order is named.
#[test]
fn order_of_checks() {
    let fields = [
        ("heartbeat_interval", "heartbeat interval"),
        ("output_buffer_timeout", "output buffer timeout"),
        ("output_buffer_size", "output buffer size"),
        ("sample_rate", "sample rate"),
        ("msg_timeout", "msg timeout"),
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for first in 0..fields.len() {
            // Listed back to front, so that their order in the JSON cannot matter.
            let bad: Vec<String> =
                fields[first..].iter().rev().map(|(field, _)| format!("\"{field}\":-7")).collect();
            let json = format!(
                "{{{},\"feature_negotiation\":true,\"snappy\":true,\"deflate\":true}}",
                bad.join(",")
            );
            let wanted = format!("error: E_BAD_BODY IDENTIFY {} (-7) is invalid", fields[first].1);
            assert_eq!(answer(&broker, &json), wanted);
        }
    });
}
