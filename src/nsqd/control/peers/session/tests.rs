//! Sessions with nsqlookupds that answer as they should, late, wrongly, or not at all.

use std::time::{Duration, Instant};

use shards::metadata::Registration;
use shards::slots::Key;
use shards::wire::names::Name;

use super::{News, Session};
use crate::nsqd::control::limits::{ANSWER_TIMEOUT, PING_INTERVAL, UNANSWERED_MAX};
use crate::nsqd::control::peers::answer::{LookupInfo, Trouble};
use crate::nsqd::control::peers::registry::Registry;

const IDENTITY: &[u8] = b"{\"x\":1}";
const INFO: &str = r#"{"broadcast_address":"l","http_port":4161}"#;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

/// A topic with channels; each is written with its key, as in `c1`.
fn topic(key: u64, channels: &[(&str, u64)]) -> Option<Registration> {
    let channels = channels.iter().map(|&(text, key)| (name(text), Key::from_bits(key)));
    Some(Registration { topic: Key::from_bits(key), channels: channels.collect() })
}

fn framed(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

struct World {
    registry: Registry,
    session: Session,
    now: Instant,
}

impl World {
    fn new(registry: Registry) -> World {
        let now = Instant::now();
        World { session: Session::new(IDENTITY, &registry, now), registry, now }
    }

    /// A world whose nsqlookupd knows who this is.
    fn open(registry: Registry) -> World {
        let mut world = World::new(registry);
        assert_eq!(world.take_output(), "  V1IDENTIFY\n\0\0\0\u{7}{\"x\":1}");
        let news = world.session.received(&framed(INFO), world.now).unwrap();
        assert!(matches!(&news[..], [News::Identified(_)]));
        world
    }

    fn take_output(&mut self) -> String {
        let text = String::from_utf8(self.session.output().to_vec()).unwrap();
        self.session.sent(text.len());
        text
    }

    /// What it says now.
    fn says(&mut self) -> Vec<String> {
        self.session.advance(&self.registry, self.now).unwrap();
        self.take_output().lines().map(str::to_owned).collect()
    }

    /// So many commands are answered as they should be.
    fn accept(&mut self, count: usize) -> Option<News> {
        let answers = framed("OK").repeat(count);
        assert_eq!(self.session.received(&answers, self.now).unwrap(), []);
        self.session.advance(&self.registry, self.now).unwrap()
    }

    fn set(&mut self, text: &str, topic: Option<Registration>) {
        self.registry.set(name(text), topic);
        self.session.changed(name(text));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn registry(topics: &[(&str, Option<Registration>)]) -> Registry {
    let mut registry = Registry::default();
    for (text, topic) in topics {
        registry.set(name(text), topic.clone());
    }
    registry
}

#[test]
fn everything_is_registered_after_it_was_said_who_this_is() {
    let channels = [("c", 2), ("e#ephemeral", 3)];
    let mut world = World::new(registry(&[("t", topic(1, &channels)), ("u", topic(4, &[]))]));
    assert_eq!(world.says(), ["  V1IDENTIFY", "\0\0\0\u{7}{\"x\":1}"]);
    assert_eq!(world.says(), [""; 0], "nothing more until it is answered");
    let news = world.session.received(&framed(INFO), world.now).unwrap();
    let info = LookupInfo::parse(INFO.as_bytes()).unwrap();
    assert_eq!(news, [News::Identified(info)]);
    assert_eq!(world.says(), ["REGISTER t c", "REGISTER t e#ephemeral", "REGISTER u"]);
    assert_eq!(world.accept(2), None);
    assert_eq!(world.accept(1), Some(News::Registered(3)));
    assert_eq!(world.accept(0), None, "it is said once");
}

#[test]
fn changes_are_told_as_they_come_out() {
    let mut world = World::open(Registry::default());
    assert_eq!(world.says(), [""; 0]);
    world.set("t", topic(1, &[]));
    assert_eq!(world.says(), ["REGISTER t"]);
    world.set("t", topic(1, &[("c", 2)]));
    world.set("t", topic(1, &[("c", 2), ("d", 3)]));
    assert_eq!(world.says(), ["REGISTER t c", "REGISTER t d"]);
    world.set("t", topic(1, &[("d", 3)]));
    assert_eq!(world.says(), ["UNREGISTER t c"]);
    world.set("t", topic(1, &[("d", 3)]));
    assert_eq!(world.says(), [""; 0], "nothing new");
    world.set("t", None);
    assert_eq!(world.says(), ["UNREGISTER t d", "UNREGISTER t"]);
    world.set("t", topic(5, &[]));
    world.set("t", None);
    assert_eq!(world.says(), [""; 0], "nothing was told of it");
}

/// A tombstone ends, and a registration that somebody deleted comes back, though the name is the
/// same as before.
#[test]
fn what_was_made_again_is_registered_again() {
    let mut world = World::open(registry(&[("t", topic(1, &[("c", 2), ("d", 3)]))]));
    assert_eq!(world.says(), ["REGISTER t c", "REGISTER t d"]);
    world.set("t", topic(1, &[("c", 9), ("d", 3)]));
    assert_eq!(world.says(), ["UNREGISTER t c", "REGISTER t c"]);
    world.set("t", topic(7, &[("c", 8)]));
    let all = ["UNREGISTER t c", "UNREGISTER t d", "UNREGISTER t", "REGISTER t c"];
    assert_eq!(world.says(), all);
    world.set("t", topic(10, &[]));
    assert_eq!(world.says(), ["UNREGISTER t c", "UNREGISTER t", "REGISTER t"]);
}

#[test]
fn no_more_is_under_way_than_is_good() {
    let channels: Vec<(String, u64)> = (0..1000).map(|n| (format!("c{n}"), n)).collect();
    let channels: Vec<(&str, u64)> = channels.iter().map(|(text, n)| (&text[..], *n)).collect();
    let mut world = World::open(registry(&[("t", topic(1, &channels))]));
    let mut told = world.says().len();
    assert_eq!(told, UNANSWERED_MAX);
    assert_eq!(world.says().len(), 0);
    let mut last = None;
    for answered in 1..=channels.len() {
        assert_eq!(last, None);
        last = world.accept(1);
        told += world.take_output().lines().count();
        assert_eq!(told, channels.len().min(answered + UNANSWERED_MAX));
    }
    assert_eq!(last, Some(News::Registered(1000)));
}

#[test]
fn it_is_pinged_also_while_it_registers() {
    let mut world = World::open(Registry::default());
    assert_eq!(world.session.deadline(), world.now + PING_INTERVAL);
    world.pass(PING_INTERVAL - Duration::from_secs(1));
    assert_eq!(world.says(), [""; 0]);
    world.set("t", topic(1, &[]));
    assert_eq!(world.says(), ["REGISTER t"]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.says(), ["PING"]);
    assert_eq!(world.accept(2), None);
    assert_eq!(world.session.deadline(), world.now + PING_INTERVAL);
}

#[test]
fn who_does_not_answer_is_given_up() {
    let mut world = World::new(Registry::default());
    world.pass(ANSWER_TIMEOUT - Duration::from_millis(1));
    assert_eq!(world.session.advance(&world.registry, world.now), Ok(None));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.session.deadline(), world.now);
    let silent = Trouble::Silent("IDENTIFY".to_owned());
    assert_eq!(world.session.advance(&world.registry, world.now), Err(silent));
}

/// A slow one that answers one command at a time is not given up.
#[test]
fn every_answer_gives_time_for_the_next() {
    let mut world = World::open(Registry::default());
    world.set("t", topic(1, &[("c", 2), ("d", 3), ("e", 4)]));
    assert_eq!(world.says().len(), 3);
    for _ in 0..2 {
        world.pass(ANSWER_TIMEOUT - Duration::from_millis(1));
        assert_eq!(world.accept(1), None);
    }
    world.pass(ANSWER_TIMEOUT);
    let silent = Trouble::Silent("REGISTER t e".to_owned());
    assert_eq!(world.session.advance(&world.registry, world.now), Err(silent));
}

/// What it is to end with when this is received.
fn check_end(bytes: &[u8], trouble: Trouble) {
    let mut world = World::open(registry(&[("t", topic(1, &[]))]));
    assert_eq!(world.says(), ["REGISTER t"]);
    assert_eq!(world.session.received(bytes, world.now), Err(trouble));
}

#[test]
fn whoever_makes_no_sense_is_given_up() {
    let command = "REGISTER t".to_owned();
    let refused = |text: &str| Trouble::Refused { command: command.clone(), text: text.to_owned() };
    check_end(&framed("E_INVALID client must IDENTIFY"), refused("E_INVALID client must IDENTIFY"));
    check_end(&framed(""), refused(""));
    check_end(&framed("ok"), refused("ok"));
    check_end(b"HTTP/1.1 400 Bad Request\r\n", Trouble::Length(0x4854_5450));
    check_end(&[0xff; 4], Trouble::Length(-1));
    let twice = [framed("OK"), framed("OK")].concat();
    check_end(&twice, Trouble::Unasked("OK".to_owned()));
    let mut world = World::new(Registry::default());
    let bad = world.session.received(&framed("E_BAD_BODY IDENTIFY missing fields"), world.now);
    assert_eq!(bad, Err(Trouble::NoInfo("E_BAD_BODY IDENTIFY missing fields".to_owned())));
}
