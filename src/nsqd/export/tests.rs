//! Exports of data paths of ours, and what is refused. Those of data paths that were the
//! original's are with the takeover's tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use shards::disk::Role;
use shards::id;
use shards::journal::entry::{self, At, Run};
use shards::journal::file::FileHeader;
use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};
use shards::log::Message;
use shards::log::record::{self, Salt};
use shards::nsq_format::{self, Found, Queue};
use shards::wire::frame::message_header;
use shards::wire::names::Name;
use tempfile::TempDir;

use super::{Report, export};
use crate::config::export::ExportOptions;
use crate::nsqd::startup::data_path::DataPathLock;

const NONCE: u64 = 7;
const METADATA: &str = concat!(
    r#"{"topics":[{"name":"t","paused":true,"channels":[{"name":"c","paused":true},"#,
    r#"{"name":"d","paused":false}]},{"name":"quiet","paused":false,"channels":null}],"#,
    r#""version":"1.3.0"}"#,
);

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

/// A run of one topic with these sequence numbers; a message's body is its number in decimal.
fn run(
    out: &mut Vec<u8>,
    topic: &str,
    sequences: std::ops::Range<u64>,
    delay_ms: u64,
    now_ns: i64,
) {
    let mut records = Vec::new();
    for sequence in sequences.clone() {
        let body = sequence.to_string();
        let id = id::encode(sequence, 5);
        let header = &message_header(body.len() as u32, now_ns, &id);
        let message = Message { header, body: body.as_bytes(), delay_ms, note: b"" };
        record::append(&mut records, &message, Salt::of(&name(topic)));
    }
    let run = Run {
        topic: name(topic),
        count: (sequences.end - sequences.start) as u32,
        first: sequences.start,
        last: sequences.end - 1,
        bytes: records.len() as u32,
        deferred: delay_ms > 0,
    };
    let at = At { nonce: NONCE, offset: out.len() as u64 };
    entry::run_start(out, at, &run);
    out.extend_from_slice(&records);
    entry::run_end(out, at, &run);
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// A data path with one journal: a topic with a backlog of its own, a channel with messages of
/// every kind, and one that is done; and a topic that the metadata lack.
fn data_path() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let now = now_ns();
    let now_ms = (now / 1_000_000) as u64;
    let header = FileHeader {
        role: Role::Journal,
        number: 1,
        generation: 1,
        shard: 0,
        nonce: NONCE,
        sequence_floor: 0,
    };
    let mut file = header.encode().to_vec();
    run(&mut file, "t", 100..110, 0, now);
    // Deferred, and due by now.
    run(&mut file, "t", 110..111, 1, now - 1_000_000_000);
    run(&mut file, "t", 111..113, 3_600_000, now);
    run(&mut file, "t", 113..120, 0, now);
    let outstanding = |sequence, attempts, due_ms| Outstanding { sequence, attempts, due_ms };
    let state = ChannelState {
        cursor: 105,
        skips: vec![Range { first: 107, last: 108 }],
        outstanding: vec![outstanding(101, 3, 0), outstanding(103, 1, now_ms + 3_600_000)],
        ..ChannelState::default()
    };
    let topic = name("t");
    let states = At { nonce: NONCE, offset: file.len() as u64 };
    entry::channel(&mut file, &topic, &name("c"), &state);
    let done = ChannelState { cursor: 115, ..ChannelState::default() };
    entry::channel(&mut file, &topic, &name("d"), &done);
    entry::topic(&mut file, &topic, &TopicState { handed: Some(115), head: 120 });
    entry::seal(&mut file[states.offset as usize..], states);
    run(&mut file, "new", 50..52, 0, now);
    file.resize(file.len() + 8192, 0);
    fs::create_dir(directory.path().join("log")).unwrap();
    fs::write(directory.path().join("log/0000000001.journal"), file).unwrap();
    fs::write(directory.path().join("nsqd.dat"), METADATA).unwrap();
    directory
}

fn run_export(data_path: &Path, to: &Path) -> Result<Report, String> {
    let (data_path, to) = (data_path.to_owned(), to.to_owned());
    export(&ExportOptions { data_path, to, max_bytes_per_file: 100 })
}

/// Attempts and body of each message of a queue, from its files.
fn messages(directory: &Path, queue: &str) -> Vec<(u16, String)> {
    let (queue, _) = Queue::of_file(&format!("{queue}.diskqueue.meta.dat")).unwrap();
    let mut messages = Vec::new();
    for number in 0.. {
        let Ok(bytes) = fs::read(directory.join(queue.data_file(number))) else { break };
        assert!(bytes.len() <= 100);
        let mut rest = &bytes[..];
        while let Found::Message(message, length) = nsq_format::read(rest, rest.len() as u64, 100) {
            let body = String::from_utf8(message.body.to_vec()).unwrap();
            assert_eq!(message.id, id::encode(body.parse().unwrap(), 5));
            messages.push((message.attempts, body));
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }
    let meta = fs::read_to_string(directory.join(queue.meta_file())).unwrap();
    assert!(meta.starts_with(&format!("{}\n0,0\n", messages.len())), "{meta}");
    messages
}

fn all(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn every_queue_gets_what_is_its_own() {
    let from = data_path();
    let before = (all(from.path()), all(&from.path().join("log")));
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("new");
    let report = run_export(from.path(), &to).unwrap();
    // 103 was requeued for later, and 111 and 112 were published so.
    assert_eq!(report, Report { topics: 3, queues: 5, messages: 17, deferred: 3, damaged: 0 });
    let plain =
        |sequences: &[u64]| sequences.iter().map(|n| (0, n.to_string())).collect::<Vec<_>>();
    let mut of_c = vec![(3, "101".to_owned()), (1, "103".to_owned())];
    of_c.extend(plain(&[105, 106, 109, 110, 111, 112, 113, 114]));
    assert_eq!(messages(&to, "t:c"), of_c);
    assert_eq!(messages(&to, "t:d"), []);
    assert_eq!(messages(&to, "t"), plain(&[115, 116, 117, 118, 119]));
    assert_eq!(messages(&to, "new"), plain(&[50, 51]));
    assert_eq!(messages(&to, "quiet"), []);
    let with_new = METADATA.replace(
        r#"[{"name":"t""#,
        r#"[{"name":"new","paused":false,"channels":null},{"name":"t""#,
    );
    let with_new: serde_json::Value = serde_json::from_str(&with_new).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&all(&to)["nsqd.dat"]).unwrap();
    let sorted = |value: &serde_json::Value| {
        let mut topics = value["topics"].as_array().unwrap().clone();
        topics.sort_by_key(|topic| topic["name"].to_string());
        topics
    };
    assert_eq!(sorted(&written), sorted(&with_new));
    assert!(!all(&to).contains_key("export.tmp"));
    assert_eq!((all(from.path()), all(&from.path().join("log"))), before);
}

#[test]
fn damaged_messages_are_counted_and_left_out() {
    let from = data_path();
    let path = from.path().join("log/0000000001.journal");
    let mut bytes = fs::read(&path).unwrap();
    let id = id::encode(116, 5);
    let at = bytes.windows(16).position(|window| window == id).unwrap();
    bytes[at + 17] ^= 1;
    fs::write(&path, bytes).unwrap();
    let to = tempfile::tempdir().unwrap();
    let report = run_export(from.path(), to.path()).unwrap();
    assert_eq!((report.messages, report.damaged), (16, 1));
    assert_eq!(messages(to.path(), "t").len(), 4);
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy() {
    let check = |from: &Path, to: &Path, wanted: &str| {
        let problem = run_export(from, to).unwrap_err();
        assert!(problem.contains(wanted), "{problem}");
    };
    let from = data_path();
    let to = tempfile::tempdir().unwrap();
    let missing = from.path().join("missing");
    check(&missing, to.path(), "missing: no such file or directory");
    check(from.path(), &missing.join("deeper"), "mkdir");

    let lock = DataPathLock::take(from.path()).unwrap();
    check(from.path(), to.path(), "instance of nsqd): the broker has to be stopped");
    drop(lock);
    let lock = DataPathLock::take(to.path()).unwrap();
    check(from.path(), to.path(), "failed to lock --to: cannot flock");
    drop(lock);

    check(from.path(), from.path(), "failed to lock --to: cannot flock");
    check(from.path(), &from.path().join("log"), "is not empty: --to needs an empty directory");
    check(to.path(), &to.path().join("new"), "is no data path: it has neither nsqd.dat nor log");
    assert!(all(to.path()).is_empty());

    fs::write(from.path().join("t.diskqueue.000000.dat"), "x").unwrap();
    check(from.path(), to.path(), "start nsqd on it once, and stop it again");
    fs::remove_file(from.path().join("t.diskqueue.000000.dat")).unwrap();
    let plan = r#"{"log":[],"backup":"b","originals":[]}"#;
    fs::write(from.path().join("log/.takeover.plan"), plan).unwrap();
    check(from.path(), to.path(), "start nsqd on it once, and stop it again");
}

#[test]
fn an_export_that_ends_early_is_no_data_path() {
    let from = data_path();
    for steps in 0.. {
        let to = tempfile::tempdir().unwrap();
        let outcome =
            crate::nsqd::takeover::disk::crash::after(steps, || run_export(from.path(), to.path()));
        let Err(problem) = outcome else {
            assert!(steps > 20, "{steps}");
            break;
        };
        // The scratch file's creation is the first step behind the directory's.
        assert_eq!(problem.contains("remove what is in it"), steps > 1, "{steps}: {problem}");
        let written = all(to.path());
        let metas = written.keys().filter(|name| name.ends_with(".meta.dat")).count();
        assert!(metas == 5 || !written.contains_key("nsqd.dat"), "{steps}: {metas}");
    }
}
