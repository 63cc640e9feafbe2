//! The format, and the thread with real shards and files.

use std::fs;
use std::time::{Duration, Instant};

use shards::limits::Options;
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::placement::Placement;
use shards::request::{Reply, Request, TopicAction};
use shards::shard::{Now, Parts, Shard};
use shards::wire::names::Name;

use super::file::MetadataFile;
use super::keeper::{Keeper, Reporter};
use super::{Content, Topics, load, parse, text};
use crate::nsqd::doorbell::Doorbell;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

/// Metadata in words: what is paused has a `!`.
fn words(content: &Content) -> String {
    let mark = |name: &Name, paused| format!("{name}{}", if paused { "!" } else { "" });
    let topic = |topic: &TopicMetadata| {
        let channels: Vec<_> =
            topic.channels.iter().map(|channel| mark(&channel.name, channel.paused)).collect();
        format!("{}({})", mark(&topic.name, topic.paused), channels.join(" "))
    };
    let topics = content.topics.values().map(topic);
    topics.chain(content.warnings.iter().cloned()).collect::<Vec<_>>().join(", ")
}

#[test]
fn reads_what_the_original_reads() {
    let check = |json: &str, wanted: &str| {
        assert_eq!(words(&parse(json.as_bytes()).unwrap()), wanted, "{json}");
    };
    for nothing in ["null", "{}", r#" {"topics":null} "#, r#"{"topics":[],"version":3,"x":[]}"#] {
        check(nothing, "");
    }
    check(r#"{"topics":[{"name":"t","paused":true,"channels":null}],"version":""}"#, "t!()");
    check(r#"{"topics":[{"name":"t","channels":[{"name":"c","paused":null}]}]}"#, "t(c)");
    check(r#"{"TOPICS":[{"Name":"t","PAUSED":true,"more":1}]}"#, "t!()");
    check(r#"{"topics":[{"name":"e#ephemeral"}]}"#, "e#ephemeral()");
    check(
        r#"{"topics":[{"name":"t","channels":[{"name":"c"},{"name":"c","paused":true}]},
            {"name":"t","paused":true,"channels":[{"name":"d"},{"name":"c"}]}]}"#,
        "t!(c! d)",
    );
    check(
        r#"{"topics":[{"name":"bad\n$","channels":[{"name":3}]},null,{"name":"t",
            "channels":[{"name":"b d"},{},{"name":"c"}]}]}"#,
        "t(c), skipping creation of invalid topic bad\n$, skipping creation of invalid topic , \
         skipping creation of invalid channel b d, skipping creation of invalid channel ",
    );
    let mixed = parse(b"{\"topics\":[{\"name\":\"a\xff\"},{\"name\":\"t\"}]}").unwrap();
    assert_eq!(words(&mixed), "t(), skipping creation of invalid topic a\u{fffd}");
}

#[test]
fn refuses_what_makes_no_sense() {
    for cut in ["", " ", "{", r#"{"topics":[{"name":"t"#] {
        assert_eq!(parse(cut.as_bytes()), Err("unexpected end of JSON input".to_owned()), "{cut}");
    }
    for bad in ["x", "{}x", "[]", "1", r#""t""#, "{'topics':[]}"] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let check = |json: &str, wanted: &str| {
        assert_eq!(parse(json.as_bytes()), Err(wanted.to_owned()), "{json}");
    };
    check(r#"{"topics":3}"#, "topics is a number, not a list");
    check(r#"{"topics":["t"]}"#, "topic is a string, not an object");
    check(r#"{"topics":[{"name":[]}]}"#, "name is a list, not a string");
    check(r#"{"topics":[{"name":"t","paused":"no"}]}"#, "paused is a string, not true or false");
    check(r#"{"topics":[{"name":"t","channels":{}}]}"#, "channels is an object, not a list");
}

#[test]
fn writes_what_the_original_writes() {
    let written = |topics: &[TopicMetadata]| {
        let topics: Topics = topics.iter().map(|topic| (topic.name, topic.clone())).collect();
        let text = text(&topics);
        let lasting = topics.into_values().filter(|topic| !topic.name.is_ephemeral()).count();
        assert_eq!(parse(&text).unwrap().topics.len(), lasting);
        String::from_utf8(text).unwrap()
    };
    let topic = |topic: &str, paused, channels: &[(&str, bool)]| TopicMetadata {
        paused,
        channels: channels
            .iter()
            .map(|&(channel, paused)| ChannelMetadata::new(name(channel), paused))
            .collect(),
        ..TopicMetadata::new(name(topic))
    };
    let nothing = r#"{"topics":null,"version":"1.3.0"}"#;
    assert_eq!(written(&[]), nothing);
    assert_eq!(written(&[topic("e#ephemeral", true, &[("c", true)])]), nothing);
    assert_eq!(
        written(&[
            topic("u", true, &[("e#ephemeral", true)]),
            topic("t", false, &[("c", false), ("d", true)]),
        ]),
        concat!(
            r#"{"topics":[{"name":"t","paused":false,"channels":[{"name":"c","paused":false},"#,
            r#"{"name":"d","paused":true}]},{"name":"u","paused":true,"channels":null}],"#,
            r#""version":"1.3.0"}"#,
        )
    );
}

#[test]
fn a_file_that_is_not_there_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(load(directory.path()).unwrap().content, Content::default());
    let path = directory.path().join("nsqd.dat");
    fs::write(&path, "").unwrap();
    assert_eq!(
        load(directory.path()).unwrap_err(),
        format!("failed to parse metadata in {} - unexpected end of JSON input", path.display())
    );
    assert_eq!(fs::read(&path).unwrap(), b"", "it is left alone");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(
        load(directory.path()).unwrap_err(),
        format!("failed to read metadata from {0} - read {0}: is a directory", path.display())
    );
}

/// Two shards and the thread that keeps their metadata.
struct World {
    directory: tempfile::TempDir,
    shards: Vec<Shard>,
    doorbells: Vec<Doorbell>,
    reporters: Vec<Reporter>,
    keeper: Keeper,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let doorbells: Vec<_> = (0..2).map(|_| Doorbell::new().unwrap()).collect();
        let file = MetadataFile::new(directory.path());
        let (keeper, reporters) = Keeper::start(file, Topics::new(), &doorbells).unwrap();
        let shard = |me| {
            let parts = Parts {
                options: Options::default(),
                placement: Placement::new(me, 2, &[]),
                workers: 2,
                now: Now::default(),
                seed: 1,
                disk: false,
            };
            Shard::new(parts, Box::new(|| None))
        };
        World { directory, shards: vec![shard(0), shard(1)], doorbells, reporters, keeper }
    }

    fn create(&mut self, shard: u16, topic: &str) {
        let to = &mut self.shards[usize::from(shard)];
        to.ask(shard, 1, Request::CreateTopic(name(topic)));
        assert!(matches!(to.take_reply(), Some((1, Reply::Done))));
    }

    /// The end of a turn of every worker, and the beginning of the next.
    fn turn(&mut self) {
        for (shard, reporter) in self.shards.iter_mut().zip(&mut self.reporters) {
            reporter.report(shard);
            reporter.hear(shard);
        }
    }

    fn file(&self) -> String {
        let bytes = fs::read(self.directory.path().join("nsqd.dat")).unwrap_or_default();
        parse(&bytes).map_or_else(|problem| problem, |content| words(&content))
    }

    fn await_file(&mut self, wanted: &str) {
        let start = Instant::now();
        while self.file() != wanted {
            assert!(start.elapsed() < Duration::from_secs(10), "{} != {wanted}", self.file());
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn all_shards_are_in_one_file() {
    let mut world = World::new();
    world.create(0, "a");
    world.create(1, "b");
    world.await_file("a(), b()");
    world.create(1, "c");
    let delete = Request::Topic("a".to_owned(), TopicAction::Delete);
    world.shards[0].ask(0, 1, delete);
    world.await_file("b(), c()");
}

#[test]
fn a_pause_is_answered_and_the_doorbell_rings_when_it_is_written() {
    let mut world = World::new();
    world.create(0, "a");
    world.shards[0].ask(0, 2, Request::Topic("a".to_owned(), TopicAction::Pause));
    assert!(world.shards[0].take_reply().is_none());
    world.doorbells[0].fall_asleep();
    let World { shards, reporters, doorbells, .. } = &mut world;
    reporters[0].report(&mut shards[0]);
    let start = Instant::now();
    while doorbells[0].is_asleep() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(reporters[0].has_news() && !reporters[1].has_news());
    reporters[0].hear(&mut shards[0]);
    assert!(matches!(shards[0].take_reply(), Some((2, Reply::Done))));
    assert_eq!(world.file(), "a!()");
}

#[test]
fn the_last_report_is_in_the_file_whatever_is_under_way() {
    let mut world = World::new();
    let mut wanted = Vec::new();
    for number in 0..20 {
        let topic = format!("t{number:02}");
        world.create(0, &topic);
        let World { shards, reporters, .. } = &mut world;
        reporters[0].report_last(&mut shards[0]);
        wanted.push(format!("{topic}()"));
    }
    world.keeper.stop();
    let bytes = fs::read(world.directory.path().join("nsqd.dat")).unwrap();
    assert_eq!(words(&parse(&bytes).unwrap()), wanted.join(", "));
}

#[test]
fn a_disk_that_fails_answers_too_and_is_tried_again() {
    let mut world = World::new();
    let path = world.directory.path().join("nsqd.dat");
    fs::create_dir(&path).unwrap();
    world.create(0, "a");
    world.shards[0].ask(0, 2, Request::Topic("a".to_owned(), TopicAction::Pause));
    let start = Instant::now();
    while world.shards[0].take_reply().is_none_or(|(ticket, _)| ticket != 2) {
        assert!(start.elapsed() < Duration::from_secs(10));
        world.turn();
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::remove_dir(&path).unwrap();
    // Nothing new happens: it comes by itself.
    world.await_file("a!()");
}
