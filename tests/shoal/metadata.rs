//! `nsqd.dat`: which topics and channels there are, and what of them is paused, outlives a stop, a
//! crash, and a change from one broker to the other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Broker, Client, Peer, SOON, TempDir, as_nobody, eventually, on_each_peer, on_each_shoal,
    publish,
};

/// A file that the original has written.
const OF_THE_ORIGINAL: &str = include_str!("metadata/nsqd.dat");
const FILE: &str = "nsqd.dat";
/// What the log says of each write.
const WRITES: &str = "NSQ: persisting topic/channel metadata to ";
/// The least time between two writes.
const REST: Duration = Duration::from_millis(10);

/// What there is: whether each topic is paused, and each of its channels.
type Structure = BTreeMap<String, (bool, BTreeMap<String, bool>)>;

/// What JSON says that there is. The statistics have the same shape as the file.
fn structure(json: &Value, topic_key: &str, channel_key: &str) -> Structure {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let named = |entry: &Value, key: &str| {
        (entry[key].as_str().unwrap().to_string(), entry["paused"].as_bool().unwrap())
    };
    let topic = |topic: &Value| {
        let channels = list(&topic["channels"]);
        let channels = channels.iter().map(|channel| named(channel, channel_key)).collect();
        let (name, paused) = named(topic, topic_key);
        (name, (paused, channels))
    };
    list(&json["topics"]).iter().map(topic).collect()
}

/// What a broker has.
fn shown(broker: &Broker) -> Structure {
    let stats = broker.request("GET", "/stats?format=json&include_mem=false", b"").json();
    structure(&stats, "topic_name", "channel_name")
}

/// What the file says; it is always whole.
fn written(dir: &TempDir) -> Structure {
    let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("torn: {text:?}"));
    structure(&json, "name", "name")
}

/// A data path with this metadata.
fn with_file(text: &str) -> Arc<TempDir> {
    let dir = TempDir::new();
    fs::write(dir.path().join(FILE), text).unwrap();
    Arc::new(dir)
}

/// A topic with these channels, in short: what ends in `!` is paused.
fn entry(topic: &str, channels: &[&str]) -> (String, (bool, BTreeMap<String, bool>)) {
    let split = |text: &str| (text.trim_end_matches('!').to_string(), text.ends_with('!'));
    let (name, paused) = split(topic);
    (name, (paused, channels.iter().map(|channel| split(channel)).collect()))
}

/// What [`OF_THE_ORIGINAL`] says.
fn of_the_original() -> Structure {
    Structure::from([
        entry("orders", &["archive!", "billing"]),
        entry("events.v1!", &["all"]),
        entry("halted!", &[]),
        entry("bare", &[]),
    ])
}

/// Makes that, and some ephemeral things beside it.
fn make(broker: &Broker) {
    for topic in ["orders", "events.v1", "halted", "bare", "gone%23ephemeral"] {
        broker.post(&format!("/topic/create?topic={topic}"));
    }
    for (topic, channel) in [
        ("orders", "archive"),
        ("orders", "billing"),
        ("orders", "gone%23ephemeral"),
        ("events.v1", "all"),
        ("gone%23ephemeral", "c"),
    ] {
        broker.post(&format!("/channel/create?topic={topic}&channel={channel}"));
    }
    broker.post("/channel/pause?topic=orders&channel=archive");
    broker.post("/topic/pause?topic=events.v1");
    broker.post("/topic/pause?topic=halted");
}

/// The original's file is read, works as it says, and is written again.
#[test]
fn a_file_of_the_original() {
    on_each_peer(|peer| {
        let broker = Broker::start_in(peer, &[], with_file(OF_THE_ORIGINAL));
        assert_eq!(shown(&broker), of_the_original());
        let mut paused = Client::consumer(&broker, "orders", "archive", 5);
        let mut flows = Client::consumer(&broker, "orders", "billing", 5);
        let mut waits = Client::consumer(&broker, "events.v1", "all", 5);
        flows.publish("orders", b"order");
        flows.publish("events.v1", b"event");
        let id = flows.delivery("order", 1);
        flows.fin(&id);
        for client in [&mut paused, &mut waits] {
            client.silent(Duration::from_millis(300));
        }
        broker.post("/channel/unpause?topic=orders&channel=archive");
        let id = paused.delivery("order", 1);
        paused.fin(&id);
        broker.post("/topic/unpause?topic=events.v1");
        let id = waits.delivery("event", 1);
        waits.fin(&id);
        let mut wanted = of_the_original();
        wanted.extend([entry("orders", &["archive", "billing"]), entry("events.v1", &["all"])]);
        let dir = broker.stop();
        assert_eq!(written(&dir), wanted);
        assert_eq!(shown(&Broker::start_in(peer, &[], dir)), wanted);
    });
}

/// Each program goes on with what the other one left, where both are there.
#[test]
fn from_one_program_to_the_other_and_back() {
    if Peer::all() != [Peer::Original] || !Peer::shoal_is_built() {
        eprintln!("needs SHOAL_TEST_PEER and the built broker beside it");
        return;
    }
    for shards in [1, 2] {
        let shoal = Peer::Shoal { shards };
        let original = Broker::start(Peer::Original, &[]);
        make(&original);
        let ours = Broker::start_in(shoal, &[], original.stop());
        assert_eq!(shown(&ours), of_the_original());
        ours.post("/topic/delete?topic=bare");
        ours.post("/topic/unpause?topic=halted");
        ours.post("/channel/create?topic=halted&channel=new");
        ours.post("/channel/pause?topic=halted&channel=new");
        ours.post("/channel/delete?topic=orders&channel=billing");
        let mut wanted = of_the_original();
        wanted.remove("bare");
        wanted.extend([entry("halted", &["new!"]), entry("orders", &["archive!"])]);
        let original = Broker::start_in(Peer::Original, &[], ours.stop());
        assert_eq!(shown(&original), wanted);
        let ours = Broker::start_in(shoal, &[], original.stop());
        assert_eq!(shown(&ours), wanted);
    }
}

/// However a topic or channel came to be, a moment later no crash makes it forgotten.
#[test]
fn a_crash_a_moment_later() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        broker.post("/topic/create?topic=http");
        broker.post("/channel/create?topic=http&channel=c");
        Client::new(&broker).publish("pub", b"x");
        let _consumer = Client::consumer(&broker, "sub", "c", 0);
        let _gone = Client::consumer(&broker, "sub", "c#ephemeral", 0);
        let wanted =
            Structure::from([entry("http", &["c"]), entry("pub", &[]), entry("sub", &["c"])]);
        let dir = broker.dir();
        eventually("it is written", Duration::from_secs(5), || written(&dir) == wanted);
        assert_eq!(shown(&Broker::start_in(peer, &[], broker.kill())), wanted);
    });
}

/// What was deleted stays so.
#[test]
fn a_crash_a_moment_after_a_deletion() {
    on_each_shoal("the original writes the file before it takes a deleted topic out", |peer| {
        let broker = Broker::start_in(peer, &[], with_file(OF_THE_ORIGINAL));
        broker.post("/topic/delete?topic=halted");
        broker.post("/channel/delete?topic=orders&channel=archive");
        let mut wanted = of_the_original();
        wanted.remove("halted");
        wanted.extend([entry("orders", &["billing"])]);
        let dir = broker.dir();
        eventually("it is written", Duration::from_secs(5), || written(&dir) == wanted);
        assert_eq!(shown(&Broker::start_in(peer, &[], broker.kill())), wanted);
    });
}

/// The answer to a pause means that it is written.
#[test]
fn a_crash_right_after_a_pause() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        make(&broker);
        let dir = broker.dir();
        for _ in 0..10 {
            broker.post("/topic/unpause?topic=halted");
            assert_eq!(written(&dir)["halted"], entry("halted", &[]).1);
            broker.post("/channel/pause?topic=orders&channel=billing");
            assert_eq!(written(&dir)["orders"], entry("orders", &["archive!", "billing!"]).1);
            broker.post("/channel/unpause?topic=orders&channel=billing");
            assert_eq!(written(&dir)["orders"], entry("orders", &["archive!", "billing"]).1);
            broker.post("/topic/pause?topic=halted");
        }
        assert_eq!(shown(&Broker::start_in(peer, &[], broker.kill())), of_the_original());
    });
}

/// Has topics made, and counts how often the file was written for them: never twice within the
/// time of a rest.
fn count_writes(peer: Peer, topics: usize, make: impl FnOnce(&mut Client)) {
    let broker = Broker::start(peer, &[]);
    let before = broker.log_count(WRITES);
    let start = Instant::now();
    make(&mut Client::new(&broker));
    let dir = broker.dir();
    eventually("all are written", SOON, || written(&dir).len() == topics);
    let writes = broker.log_count(WRITES) - before;
    let most = 2 + start.elapsed().as_millis() as usize / REST.as_millis() as usize;
    assert!((1..=most).contains(&writes), "{writes} writes for {topics} topics, not {most}");
}

/// Topics that come at once are written at once.
#[test]
fn a_thousand_topics_at_once() {
    on_each_shoal("the original writes the file for each", |peer| {
        count_writes(peer, 1000, |client| {
            let topics = (0..1000).map(|number| format!("many-{number}"));
            let all: Vec<u8> = topics.flat_map(|topic| publish(&topic, b"x")).collect();
            client.send(&all);
            (0..1000).for_each(|_| client.ok());
        });
    });
}

/// Those that come one after the other without a pause are written a few at a time.
#[test]
fn hundreds_of_topics_in_a_row() {
    on_each_shoal("the original writes the file for each", |peer| {
        count_writes(peer, 300, |client| {
            (0..300).for_each(|number| client.publish(&format!("row-{number}"), b"x"));
        });
    });
}

/// Whoever reads the file while it changes finds a whole one.
#[test]
fn never_torn() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let (dir, done, start) = (broker.dir(), AtomicBool::new(false), Instant::now());
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut seen = std::collections::BTreeSet::new();
                while !done.load(Ordering::Relaxed) && start.elapsed() < 4 * SOON {
                    seen.insert(written(&dir).len());
                }
                seen.len()
            });
            for number in 0..100 {
                broker.post(&format!("/topic/create?topic=t{number}"));
                broker.post(&format!("/topic/pause?topic=t{number}"));
            }
            done.store(true, Ordering::Relaxed);
            assert!(reading.join().unwrap() > 5, "it did not change while it was read");
        });
    });
}

/// The shards share out what they find, however many they are.
#[test]
fn another_number_of_shards() {
    on_each_shoal("the original has no shards", |peer| {
        let Peer::Shoal { shards } = peer else { return };
        let broker = Broker::start(peer, &[]);
        for number in 0..20 {
            broker.post(&format!("/topic/create?topic=t{number}"));
            broker.post(&format!("/channel/create?topic=t{number}&channel=c"));
        }
        let before = shown(&broker);
        let other = Peer::Shoal { shards: 3 - shards };
        let broker = Broker::start_in(other, &[], broker.stop());
        assert_eq!(shown(&broker), before);
        for number in 0..20 {
            let topic = format!("t{number}");
            let mut client = Client::consumer(&broker, &topic, "c", 1);
            client.publish(&topic, b"x");
            client.delivery("x", 1);
        }
        assert_eq!(shown(&broker), before, "nothing is there twice");
    });
}

/// What cannot be understood is not guessed at, and not touched.
#[test]
fn a_file_that_makes_no_sense() {
    on_each_peer(|peer| {
        for text in ["", "{", "[]", "{\"topics\":3}", "{\"topics\":[{\"name\":1}]}", "{}x"] {
            let dir = with_file(text);
            let exit = Broker::run(Broker::command(peer, &[], &dir), SOON);
            assert_eq!(exit.status.code(), Some(1), "{text:?}: {}", exit.output);
            let path = dir.path().join(FILE);
            let wanted = format!(
                "FATAL: failed to load metadata - failed to parse metadata in {} - ",
                path.display()
            );
            assert!(exit.output.contains(&wanted), "{text:?}: {}", exit.output);
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    });
}

#[test]
fn a_directory_in_its_place() {
    on_each_peer(|peer| {
        let dir = TempDir::new();
        let path = dir.path().join(FILE);
        fs::create_dir(&path).unwrap();
        let exit = Broker::run(Broker::command(peer, &[], &dir), SOON);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        let wanted = format!(
            "FATAL: failed to load metadata - failed to read metadata from {0} - read {0}: is a \
             directory",
            path.display()
        );
        assert!(exit.output.contains(&wanted), "{}", exit.output);
    });
}

/// Names that no topic can have are skipped, with a warning; the rest counts.
#[test]
fn impossible_names() {
    on_each_peer(|peer| {
        let text = concat!(
            r#"{"version":"0","TOPICS":[{"name":"b d","paused":true},null,{"name":"t","#,
            r#""channels":[{"name":"$"},{"name":"c","paused":true,"more":[]}]}]}"#,
        );
        let broker = Broker::start_in(peer, &[], with_file(text));
        let wanted = Structure::from([entry("t", &["c!"])]);
        assert_eq!(shown(&broker), wanted);
        for skipped in ["topic b d", "channel $"] {
            let line = format!("WARNING: skipping creation of invalid {skipped}");
            assert!(broker.log_line(&line).is_some(), "{line}");
        }
        assert_eq!(written(&broker.stop()), wanted);
    });
}

/// A data path where nothing can be written is named at the start.
#[test]
fn a_read_only_data_path() {
    on_each_peer(|peer| {
        let (binary, dir) = (TempDir::new(), TempDir::new());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let command = as_nobody(peer, &Broker::command(peer, &[], &dir), &binary);
        let exit = Broker::run(command, SOON);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
        let path = dir.path().display();
        let wanted = match peer.is_original() {
            true => format!("FATAL: failed to persist metadata - open {path}/nsqd.dat."),
            // It looks before it begins anything.
            false => format!("the data path {path} cannot be written to: permission denied"),
        };
        assert!(exit.output.contains(&wanted), "{}", exit.output);
        assert!(exit.output.contains("permission denied"), "{}", exit.output);
    });
}

/// One that becomes so is no reason to stop: it is complained about, and tried again.
#[test]
fn a_data_path_that_becomes_read_only() {
    on_each_shoal("the original does not try again", |peer| {
        let (binary, dir) = (TempDir::new(), TempDir::new());
        let allow = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        // Everybody may write there: the broker may be another user than the test.
        allow(dir.path(), 0o777);
        let command = as_nobody(peer, &Broker::command(peer, &[], &dir), &binary);
        let broker = Broker::spawn(command, dir.into());
        let dir = broker.dir();
        allow(dir.path(), 0o555);
        broker.post("/topic/create?topic=t");
        eventually("it complains", SOON, || {
            broker.log_line("ERROR: failed to persist metadata - open ").is_some()
        });
        broker.post("/topic/pause?topic=t");
        Client::new(&broker).publish("t", b"x");
        assert_eq!(broker.topic("t")["depth"], 1);
        allow(dir.path(), 0o777);
        // Nothing else happens; what is written belongs to the broker, not to everybody.
        let wanted = Structure::from([entry("t!", &[])]);
        eventually("it is written", SOON, || written(&dir) == wanted);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        broker.stop();
    });
}

/// What a crash left of a write is removed, and nothing else.
#[test]
fn an_unfinished_write() {
    on_each_shoal("the original leaves it there", |peer| {
        let dir = with_file(OF_THE_ORIGINAL);
        let path = |name: &str| dir.path().join(name);
        let names = ["nsqd.dat.5577006791947779410.tmp", "nsqd.dat.old.tmp", "nsqd.dat.1.bak"];
        for name in names {
            fs::write(path(name), "{\"topics\":[{\"na").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let broker = Broker::start_in(peer, &[], dir.clone());
        assert_eq!(shown(&broker), of_the_original());
        assert_eq!(names.map(|name| path(name).exists()), [false, true, true]);
        broker.stop();
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["log", FILE, names[2], names[1]]);
    });
}
