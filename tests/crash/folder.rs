//! The data path: whose it is, and what else may lie in its folder of logs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::random::Random;
use super::{durable, numbered, publish_all, start};
use crate::harness::{
    Broker, Client, NOBODY, Peer, SOON, TempDir, as_nobody, is_root, on_each_peer, on_each_shoal,
};

const COUNT: usize = 50;

/// A broker with a backlog in its log.
fn with_backlog(peer: Peer) -> Broker {
    let broker = start(peer, "written", Arc::new(TempDir::new()));
    broker.post("/topic/create?topic=t");
    broker.post("/channel/create?topic=t&channel=c");
    publish_all(&mut Client::new(&broker), "t", &numbered("t", COUNT));
    broker.await_channel("t", "c", "depth", COUNT as i64);
    broker
}

/// Takes the backlog: all of it, and nothing else.
fn drain(broker: &Broker) {
    let mut consumer = Client::consumer(broker, "t", "c", 2 * COUNT as u32);
    let mut found: Vec<String> =
        (0..COUNT).map(|_| consumer.message().text().to_string()).collect();
    found.sort();
    let mut wanted = numbered("t", COUNT);
    wanted.sort();
    assert_eq!(found, wanted);
    consumer.silent(Duration::from_millis(300));
}

/// The topics that there are, by name.
fn topics(broker: &Broker) -> Vec<String> {
    let stats = broker.request("GET", "/stats?format=json&include_mem=false", b"").json();
    let topics = stats["topics"].as_array().unwrap();
    topics.iter().map(|topic| topic["topic_name"].as_str().unwrap().to_string()).collect()
}

/// A second broker is refused, and the first one's messages are unharmed, after a crash too.
#[test]
fn a_second_broker() {
    on_each_peer(|peer| {
        let broker = with_backlog(peer);
        let flags = durable(peer, "written");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        for _ in 0..3 {
            let exit = Broker::run(Broker::command(peer, &flags, &broker.dir()), SOON);
            assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
            assert!(exit.output.contains("failed to lock data-path"), "{}", exit.output);
        }
        Client::new(&broker).alive();
        let broker = start(peer, "written", broker.kill());
        drain(&broker);
    });
}

/// One line says what cannot be written.
fn refuses_read_only(peer: Peer, dir: &TempDir) {
    let binary = TempDir::new();
    let command = as_nobody(peer, &Broker::command(peer, &["--durability=written"], dir), &binary);
    let exit = Broker::run(command, SOON);
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    let fatal: Vec<&str> = exit.output.lines().filter(|line| line.contains("FATAL")).collect();
    assert_eq!(fatal.len(), 1, "{}", exit.output);
    let path = dir.path().display().to_string();
    assert!(fatal[0].contains(&path), "{}", fatal[0]);
    assert!(fatal[0].to_lowercase().contains("permission denied"), "{}", fatal[0]);
    assert!(!exit.output.contains("panicked"), "{}", exit.output);
}

/// Everything in a folder, with the folder.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_path_buf()];
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(below(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn a_read_only_log() {
    on_each_shoal("the original has no folder of logs", |peer| {
        let dir = with_backlog(peer).kill();
        let log = dir.path().join("log");
        let all = below(dir.path());
        for path in &all {
            if is_root() {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let allow = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        // Only the folder of logs, and then the whole data path.
        allow(&log, 0o555);
        refuses_read_only(peer, &dir);
        allow(dir.path(), 0o555);
        refuses_read_only(peer, &dir);
        allow(dir.path(), 0o755);
        allow(&log, 0o755);
        // Nothing has been spoiled.
        drain(&start(peer, "written", dir));
    });
}

/// What may be found where logs are expected.
struct Rubbish {
    name: String,
    content: Vec<u8>,
    /// Whether it has to be kept, renamed.
    renamed: bool,
}

fn rubbish(log: &Path) -> Vec<Rubbish> {
    let mut random = Random::new(11);
    let mut garbage = |bytes: usize| -> Vec<u8> {
        (0..bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect()
    };
    let real = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let real = real.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut beheaded = fs::read(&real).unwrap();
    beheaded[..4096].fill(0xa5);
    let named = |name: &str, content: Vec<u8>, renamed: bool| Rubbish {
        name: name.to_string(),
        content,
        renamed,
    };
    vec![
        named("4000000001.journal", garbage(1 << 20), true),
        named("4000000002.store", garbage(100), true),
        named("4000000003.journal", b"hello\n".to_vec(), true),
        named("4000000004.store", beheaded, true),
        // The last number there is: none may follow it.
        named("4294967295.store", garbage(5000), true),
        named("4000000005.journal", Vec::new(), false),
        named("4000000006.store", Vec::new(), false),
        named("4000000007.journal", vec![0; 1 << 20], false),
        named("4000000008.store", vec![0; 5000], false),
        named("99999999999.journal", garbage(5000), true),
        named("readme.txt", b"not a log".to_vec(), true),
        named("t:c.diskqueue.000000.dat", garbage(5000), true),
        named("0000000001.journal.bad", garbage(5000), false),
        named(".hidden", Vec::new(), false),
    ]
}

/// Garbage, files of others, empty ones and directories: it starts, keeps what is not its own
/// under another name, and delivers nothing of it.
#[test]
fn rubbish_in_the_folder() {
    on_each_shoal("the original has no folder of logs", |peer| {
        let dir = with_backlog(peer).kill();
        let log = dir.path().join("log");
        let all = rubbish(&log);
        for file in &all {
            fs::write(log.join(&file.name), &file.content).unwrap();
        }
        for name in ["4000000009.journal", "subfolder"] {
            fs::create_dir(log.join(name)).unwrap();
            fs::write(log.join(name).join("inside"), b"x").unwrap();
        }
        std::os::unix::fs::symlink("/nowhere", log.join("4000000010.journal")).unwrap();
        let broker = start(peer, "written", dir.clone());
        assert_eq!(topics(&broker), ["t"]);
        drain(&broker);
        // Whatever it writes now, it writes beside all that.
        broker.stop();
        for file in all.iter().filter(|file| file.renamed) {
            let path = log.join(format!("{}.bad", file.name));
            assert!(fs::read(&path).ok().as_ref() == Some(&file.content), "{}", path.display());
            assert!(!log.join(&file.name).exists(), "{} is there, too", file.name);
        }
        // Those whose names are none of its own it may rename as well.
        for file in all.iter().filter(|file| !file.renamed && !file.name.starts_with("4")) {
            let kept = [file.name.clone(), format!("{}.bad", file.name)];
            let same = |name: &String| fs::read(log.join(name)).is_ok_and(|it| it == file.content);
            assert!(kept.iter().any(same), "{} is gone", file.name);
        }
        let inside = |name: &str| log.join(name).join("inside").exists();
        assert!(inside("subfolder"));
        assert!(inside("4000000009.journal") || inside("4000000009.journal.bad"));
        start(peer, "written", dir).stop();
    });
}

/// Half a file: what is in the half is there, and nothing is made up for the rest.
#[test]
fn half_a_file() {
    on_each_shoal("the original has no folder of logs", |peer| {
        for (numerator, denominator) in [(0, 1), (1, 2), (9, 10)] {
            let dir = with_backlog(peer).kill();
            let used = |path: &Path| {
                let content = fs::read(path).unwrap();
                content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
            };
            for entry in fs::read_dir(dir.path().join("log")).unwrap() {
                let path = entry.unwrap().path();
                let length = used(&path) * numerator / denominator;
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(length as u64).unwrap();
            }
            let broker = start(peer, "written", dir);
            let mut consumer = Client::consumer(&broker, "t", "c", 2 * COUNT as u32);
            let found = consumer.drain(Duration::from_millis(500));
            let wanted = numbered("t", COUNT);
            assert!(found.iter().all(|message| wanted.contains(&message.text().to_string())));
            assert!(found.len() <= COUNT);
            if numerator == 0 {
                assert_eq!(found.len(), 0);
            }
            consumer.alive();
            drop(consumer);
            broker.stop();
        }
    });
}
