//! Nodes that speak TLS only, and what is shown of clients' layers.

use serde_json::Value;

use super::Admin;
use crate::harness::{Broker, Peer, SOON, eventually, on_each_peer};
use crate::upgrade::{Authority, Kind, Secure, start};

/// One consumer over TLS with each compression, and a broker that takes nothing in the clear.
fn consumers(broker: &Broker, authority: &Authority) -> Vec<Secure> {
    let config = authority.client(Some("client"), true);
    Kind::ALL
        .into_iter()
        .filter(|kind| kind.tls)
        .map(|kind| {
            let mut client = Secure::open(broker.tcp, kind, &config).unwrap();
            client.send(b"SUB t c\n");
            client.ok().unwrap();
            client
        })
        .collect()
}

fn tls_only(peer: Peer, authority: &Authority) -> Broker {
    let root = format!("--tls-root-ca-file={}", authority.path("ca.pem"));
    let policy = "--tls-client-auth-policy=require-verify";
    start(peer, authority, &["--tls-required=true", policy, &root])
}

/// The TLS and compression of each client, sorted.
fn marks(channel: &Value) -> Vec<(bool, bool, bool, String)> {
    let clients = channel["clients"].as_array().unwrap();
    let mut marks: Vec<_> = clients
        .iter()
        .map(|client| {
            let is = |field: &str| client[field].as_bool().unwrap();
            let version = client["tls_version"].as_str().unwrap().to_owned();
            (is("tls"), is("snappy"), is("deflate"), version)
        })
        .collect();
    marks.sort();
    marks
}

#[test]
fn a_node_that_speaks_tls_only_is_shown_and_steered() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = tls_only(peer, &authority);
        let clients = consumers(&broker, &authority);
        let node = format!("--nsqd-http-address={}", broker.http);
        let trusting = [
            node.clone(),
            format!("--http-client-tls-root-ca-file={}", authority.path("ca.pem")),
            format!("--http-client-tls-cert={}", authority.path("client.pem")),
            format!("--http-client-tls-key={}", authority.path("client.key")),
        ];
        let admin = Admin::start(&trusting);
        eventually("all are shown", SOON, || {
            let channel = admin.get("/api/topics/t/c");
            channel.status == 200
                && channel.json()["clients"].as_array().is_some_and(|c| c.len() == 3)
        });
        let tls13 = "TLS1.3".to_owned();
        assert_eq!(
            marks(&admin.json("/api/topics/t/c")),
            [
                (true, false, false, tls13.clone()),
                (true, false, true, tls13.clone()),
                (true, true, false, tls13),
            ]
        );
        let reply = admin.send("POST", "/api/topics/t/c", r#"{"action":"pause"}"#);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(admin.json("/api/topics/t/c")["paused"], true);
        drop(clients);
    });
}

#[test]
fn a_certificate_that_is_not_trusted_is_named() {
    on_each_peer(|peer| {
        let authority = Authority::new();
        let broker = tls_only(peer, &authority);
        let admin = Admin::start(&[format!("--nsqd-http-address={}", broker.http)]);
        let reply = admin.get("/api/nodes");
        assert_eq!(reply.status, 502);
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("certificate"), "{message}");
    });
}
