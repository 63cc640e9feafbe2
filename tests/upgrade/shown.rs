//! What the statistics say of a connection's layers.

use serde_json::{Value, json};

use super::{Authority, Kind, Secure, start};
use crate::harness::{Broker, on_each_peer};

const FIELDS: [&str; 7] = [
    "deflate",
    "snappy",
    "tls",
    "tls_cipher_suite",
    "tls_version",
    "tls_negotiated_protocol",
    "tls_negotiated_protocol_is_mutual",
];

fn shown(broker: &Broker, topic: &str) -> Vec<Value> {
    let client = &broker.channel(topic, "c")["clients"][0];
    FIELDS.map(|field| client[field].clone()).to_vec()
}

#[test]
fn layers_are_shown_in_the_originals_words() {
    let authority = Authority::new();
    on_each_peer(|peer| {
        let broker = start(peer, &authority, &[]);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            for tls13 in [false, true] {
                let topic = format!("shown{number}{tls13}");
                let config = authority.client(None, tls13);
                let mut client = Secure::open(broker.tcp, kind, &config).unwrap();
                client.send(format!("SUB {topic} c\n").as_bytes());
                client.ok().unwrap();
                let Kind { tls, snappy, deflate } = kind;
                let mut seen = shown(&broker, &topic);
                // Which suite is chosen is up to the machines: what it is called is not.
                let suite = seen.remove(3);
                let version = match (tls, tls13) {
                    (false, _) => "",
                    (true, false) => "TLS1.2",
                    (true, true) => "TLS1.3",
                };
                let wanted = json!([deflate, snappy, tls, version, "", tls]);
                assert_eq!(json!(seen), wanted, "{kind:?}");
                let suite = suite.as_str().unwrap();
                let known = ["Unknown 4865", "Unknown 4866", "Unknown 4867"];
                match version {
                    "" => assert_eq!(suite, ""),
                    "TLS1.3" => assert!(known.contains(&suite), "{suite}"),
                    _ => {
                        let named = suite == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
                        // AES-256 and ChaCha20, for which the original has no names.
                        let numbered = ["Unknown 49196", "Unknown 52393"].contains(&suite);
                        assert!(named || numbered, "{suite}");
                    }
                }
            }
        }
    });
}
