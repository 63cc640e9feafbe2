//! The registry on its own, and beside a model that searches everything.

mod model;
mod random;

use super::{Full, Now, PeerKey, Registered, Registry, RegistrySettings, Unregistered};
use crate::nsqlookupd::peer::PeerInfo;

const SECOND: u64 = 1_000_000_000;
const SETTINGS: RegistrySettings = RegistrySettings {
    inactive_after_ns: 300 * SECOND,
    tombstone_ns: 45 * SECOND,
    registrations_max: 1000,
};

fn at(seconds: u64) -> Now {
    let steady_ns = seconds * SECOND;
    Now { steady_ns, unix_ns: 1_700_000_000_000_000_000 + steady_ns as i64 }
}

fn info(number: u16) -> PeerInfo {
    PeerInfo {
        remote_address: format!("10.0.0.1:{number}"),
        broadcast_address: "host".to_owned(),
        tcp_port: 4150,
        http_port: i64::from(number),
        version: "1.3.0".to_owned(),
        ..PeerInfo::default()
    }
}

fn registry() -> Registry {
    Registry::new(SETTINGS, 1)
}

/// A registry with one producer, identified at 0.
fn with_producer() -> (Registry, PeerKey) {
    let mut registry = registry();
    let peer = registry.identify(info(1), at(0));
    (registry, peer)
}

const ONE: &str = concat!(
    r#"{"remote_address":"10.0.0.1:1","hostname":"","broadcast_address":"host","tcp_port":4150,"#,
    r#""http_port":1,"version":"1.3.0","topology_zone":"","topology_region":""}"#
);

fn names(names: &[&str]) -> Vec<std::rc::Rc<str>> {
    names.iter().map(|&name| name.into()).collect()
}

#[test]
fn a_registered_producer_is_found() {
    let (mut registry, peer) = with_producer();
    assert_eq!(registry.lookup("t", at(0)), None);
    let added = registry.register(peer, "t", Some("c")).unwrap();
    assert_eq!(added, Registered { topic: true, channel: true });
    assert_eq!(registry.register(peer, "t", Some("c")), Ok(Registered::default()));
    let added = registry.register(peer, "t", Some("d")).unwrap();
    assert_eq!(added, Registered { topic: false, channel: true });
    let expected = format!(r#"{{"channels":["c","d"],"producers":[{ONE}]}}"#);
    assert_eq!(registry.lookup("t", at(0)), Some(expected));
    assert_eq!(registry.topics(), r#"{"topics":["t"]}"#);
    assert_eq!(registry.channels("t"), r#"{"channels":["c","d"]}"#);
    assert_eq!(registry.channels("u"), r#"{"channels":[]}"#);
    let node = &ONE[..ONE.len() - 1];
    let expected = format!(r#"{{"producers":[{node},"tombstones":[false],"topics":["t"]}}]}}"#);
    assert_eq!(registry.nodes(at(0)), expected);
}

#[test]
fn keys_outlive_their_producers() {
    let (mut registry, peer) = with_producer();
    registry.register(peer, "t", Some("c")).unwrap();
    registry.register(peer, "e#ephemeral", Some("f#ephemeral")).unwrap();
    let removed = registry.disconnect(peer);
    assert_eq!(removed.len(), 2);
    assert_eq!(removed[0].1, Unregistered { topic: true, channels: names(&["c"]) });
    let empty = r#"{"channels":["c"],"producers":[]}"#;
    assert_eq!(registry.lookup("t", at(0)).as_deref(), Some(empty));
    assert_eq!(registry.topics(), r#"{"topics":["t","e#ephemeral"]}"#);
    assert_eq!(registry.nodes(at(0)), r#"{"producers":[]}"#);
    assert_eq!(registry.debug(), "{}");
    let counts = registry.counts();
    assert_eq!((counts.producers, counts.topics, counts.channels), (0, 2, 2));
    assert_eq!(counts.registrations, 4);
}

#[test]
fn unregister_removes_entries_and_ephemeral_keys() {
    let (mut registry, peer) = with_producer();
    registry.register(peer, "t", Some("c")).unwrap();
    registry.register(peer, "t", Some("d#ephemeral")).unwrap();
    let removed = registry.unregister(peer, "t", Some("c"));
    assert_eq!(removed, Unregistered { topic: false, channels: names(&["c"]) });
    assert_eq!(registry.unregister(peer, "t", Some("c")), Unregistered::default());
    assert_eq!(registry.unregister(peer, "u", Some("c")), Unregistered::default());
    registry.unregister(peer, "t", Some("d#ephemeral"));
    assert_eq!(registry.channels("t"), r#"{"channels":["c"]}"#);
    registry.register(peer, "t", Some("d")).unwrap();
    let removed = registry.unregister(peer, "t", None);
    assert_eq!(removed, Unregistered { topic: true, channels: names(&["d"]) });
    assert_eq!(registry.topics(), r#"{"topics":["t"]}"#);
    registry.register(peer, "e#ephemeral", Some("c")).unwrap();
    registry.unregister(peer, "e#ephemeral", None);
    assert_eq!(registry.lookup("e#ephemeral", at(0)), None);
    // What is left of it are its channels, as in the original.
    assert_eq!(registry.channels("e#ephemeral"), r#"{"channels":["c"]}"#);
    assert!(registry.delete_channel("e#ephemeral", "c"));
    assert_eq!(registry.names.len(), 1);
}

#[test]
fn a_tombstone_hides_a_producer_of_one_topic_for_a_while() {
    let (mut registry, peer) = with_producer();
    registry.register(peer, "t", None).unwrap();
    registry.register(peer, "u", None).unwrap();
    registry.tombstone("t", "host:2", at(10));
    registry.tombstone("v", "host:1", at(10));
    assert_eq!(registry.counts().tombstones, 0);
    registry.tombstone("t", "host:1", at(10));
    // Another registration does not bring it back.
    registry.register(peer, "t", None).unwrap();
    assert!(!registry.lookup("t", at(54)).unwrap().contains("10.0.0.1"));
    assert!(registry.lookup("u", at(54)).unwrap().contains("10.0.0.1"));
    assert!(registry.nodes(at(54)).contains(r#""tombstones":[true,false]"#));
    assert!(registry.lookup("t", at(55)).unwrap().contains("10.0.0.1"));
    assert!(registry.nodes(at(55)).contains(r#""tombstones":[false,false]"#));
    let set = at(10).unix_ns;
    assert!(registry.debug().contains(&format!(r#""tombstoned":true,"tombstoned_at":{set}"#)));
    registry.unregister(peer, "t", None);
    registry.register(peer, "t", None).unwrap();
    assert!(registry.lookup("t", at(11)).unwrap().contains("10.0.0.1"));
    assert_eq!(registry.counts().tombstones, 0);
}

#[test]
fn a_silent_producer_is_hidden_until_it_pings() {
    let (mut registry, peer) = with_producer();
    registry.register(peer, "t", None).unwrap();
    assert!(registry.lookup("t", at(300)).unwrap().contains("10.0.0.1"));
    let silent = Now { steady_ns: 300 * SECOND + 1, ..at(300) };
    assert!(!registry.lookup("t", silent).unwrap().contains("10.0.0.1"));
    assert_eq!(registry.nodes(silent), r#"{"producers":[]}"#);
    assert!(registry.debug().contains("10.0.0.1"));
    registry.advance(silent);
    assert_eq!(registry.counts().inactive, 1);
    assert_eq!(registry.ping(peer, at(400)), 400 * SECOND);
    assert_eq!(registry.counts().inactive, 0);
    assert!(registry.lookup("t", at(700)).unwrap().contains("10.0.0.1"));
}

#[test]
fn wildcards_are_all_topics() {
    let (mut registry, peer) = with_producer();
    assert_eq!(registry.lookup("*", at(0)), None);
    registry.register(peer, "t", Some("c")).unwrap();
    registry.register(peer, "u", Some("c")).unwrap();
    registry.tombstone("t", "host:1", at(0));
    let all = format!(r#"{{"channels":["c","c"],"producers":[{ONE}]}}"#);
    assert_eq!(registry.lookup("*", at(0)), Some(all));
    assert_eq!(registry.channels("*"), r#"{"channels":["c","c"]}"#);
}

#[test]
fn topics_and_channels_are_deleted_with_their_entries() {
    let (mut registry, peer) = with_producer();
    registry.create("t", Some("c")).unwrap();
    registry.register(peer, "t", Some("d")).unwrap();
    registry.tombstone("t", "host:1", at(0));
    assert!(registry.delete_channel("t", "d"));
    assert!(!registry.delete_channel("t", "d"));
    assert!(registry.lookup("t", at(50)).unwrap().contains("10.0.0.1"));
    let deleted = registry.delete_topic("t").unwrap();
    assert_eq!(deleted, Unregistered { topic: true, channels: names(&["c"]) });
    assert_eq!(registry.delete_topic("t"), None);
    assert_eq!(registry.lookup("t", at(0)), None);
    let counts = registry.counts();
    assert_eq!((counts.registrations, counts.tombstones), (0, 0));
    assert!(registry.disconnect(peer).is_empty());
    assert!(registry.timers.is_empty());
}

#[test]
fn registrations_are_bounded_and_what_is_there_stays_usable() {
    let settings = RegistrySettings { registrations_max: 5, ..SETTINGS };
    let mut registry = Registry::new(settings, 1);
    let peer = registry.identify(info(1), at(0));
    registry.register(peer, "t", Some("c")).unwrap();
    assert_eq!(registry.counts().registrations, 4);
    assert_eq!(registry.register(peer, "t", Some("d")), Err(Full));
    assert_eq!(registry.register(peer, "u", None), Err(Full));
    assert_eq!(registry.create("u", Some("c")), Err(Full));
    assert_eq!(registry.topics(), r#"{"topics":["t"]}"#);
    assert_eq!(registry.register(peer, "t", Some("c")), Ok(Registered::default()));
    assert_eq!(registry.create("u", None), Ok(()));
    assert_eq!(registry.create("u", None), Ok(()));
    assert_eq!(registry.create("v", None), Err(Full));
}

#[test]
fn who_watches_is_told_of_the_next_change() {
    let (mut registry, peer) = with_producer();
    assert_eq!(registry.index_of("t"), 0);
    registry.watch("t");
    registry.watch("t");
    registry.create("other", None).unwrap();
    assert!(registry.take_changed().is_empty());
    registry.register(peer, "t", None).unwrap();
    assert_eq!(registry.take_changed(), names(&["t"]));
    let first = registry.index_of("t");
    registry.register(peer, "t", Some("c")).unwrap();
    assert_eq!(registry.index_of("t"), first, "a channel is no change of the producers");
    registry.watch("t");
    registry.tombstone("t", "host:1", at(0));
    assert_eq!(registry.take_changed(), names(&["t"]));
    registry.watch("t");
    registry.advance(at(44));
    assert!(registry.take_changed().is_empty());
    registry.advance(at(45));
    assert_eq!(registry.take_changed(), names(&["t"]));
    registry.watch("t");
    registry.ping(peer, at(100));
    registry.advance(at(400));
    assert!(registry.take_changed().is_empty());
    registry.advance(at(401));
    assert_eq!(registry.take_changed(), names(&["t"]));
    registry.watch("*");
    registry.watch("t");
    registry.ping(peer, at(500));
    assert_eq!(registry.take_changed(), names(&["t", "*"]));
    registry.watch("t");
    registry.unwatch("t");
    registry.delete_topic("t");
    assert!(registry.take_changed().is_empty());
    assert_eq!(registry.index_of("t"), 0);
}
