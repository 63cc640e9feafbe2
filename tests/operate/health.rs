//! `/healthz` and `/readyz`: what whoever starts and balances brokers asks.

use crate::harness::{Broker, Client, SOON, TempDir, eventually, on_each_shoal};
use std::sync::Arc;

use super::WHY;

#[test]
fn a_broker_that_works_is_ready() {
    on_each_shoal(WHY, |peer| {
        let broker = Broker::start(peer, &[]);
        let health = broker.request("GET", "/healthz", b"");
        assert_eq!((health.status, health.json()["ok"].as_bool()), (200, Some(true)));
        // More often than there are shards: each of them answers for all.
        for _ in 0..4 {
            let ready = broker.request("GET", "/readyz", b"");
            assert_eq!(ready.status, 200, "{}", ready.text());
            let said = ready.json();
            assert_eq!(said["ok"], true);
            assert_eq!(said["reasons"].as_array().unwrap().len(), 0);
            assert_eq!(said["draining"], false);
            let listeners = said["listeners"].to_string();
            for (name, address) in [("TCP", broker.tcp), ("HTTP", broker.http)] {
                assert!(listeners.contains(&format!("{name}: {address}")), "{listeners}");
            }
        }
        for method in ["POST", "PUT", "DELETE"] {
            for path in ["/healthz", "/readyz"] {
                let reply = broker.request(method, path, b"");
                assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, OPTIONS")));
            }
        }
        assert_eq!(broker.log_count("200 GET /readyz"), 0, "who comes every second is not logged");
    });
}

/// Nothing is left behind in the data path, and one that is gone is said.
#[test]
fn the_data_path_is_tried() {
    on_each_shoal(WHY, |peer| {
        let dir = Arc::new(TempDir::new());
        let inner = dir.path().join("data");
        std::fs::create_dir(&inner).unwrap();
        let flag = format!("--data-path={}", inner.display());
        let broker = Broker::start_in(peer, &[&flag], dir.clone());
        assert_eq!(broker.request("GET", "/readyz", b"").status, 200);
        assert!(!inner.join(".writable").exists());
        std::fs::rename(&inner, dir.path().join("moved")).unwrap();
        let ready = broker.request("GET", "/readyz", b"");
        assert_eq!(ready.status, 503);
        let reasons = ready.json()["reasons"].to_string();
        assert!(reasons.contains("cannot be written to: no such file"), "{reasons}");
        assert_eq!(broker.request("GET", "/healthz", b"").status, 200, "it lives all the same");
        std::fs::rename(dir.path().join("moved"), &inner).unwrap();
        assert_eq!(broker.request("GET", "/readyz", b"").status, 200);
    });
}

#[test]
fn a_broker_that_drains_is_not_ready() {
    on_each_shoal(WHY, |peer| {
        let broker = Broker::start(peer, &[]);
        Client::new(&broker).publish("t", b"keeps it from ending");
        assert_eq!(broker.request("PUT", "/config/drain", b"").status, 200);
        eventually("it is not ready", SOON, || {
            let ready = broker.request("GET", "/readyz", b"");
            ready.status == 503 && ready.json()["reasons"].to_string().contains("draining")
        });
        assert_eq!(broker.request("GET", "/healthz", b"").status, 200);
    });
}
