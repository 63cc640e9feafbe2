//! Takeovers of data paths that the original has left, whole and damaged, interrupted at every
//! step. What came of them is read by way of an export.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use shards::nsq_format::{self, Message, Meta, Position, Queue};
use shards::wire::names::Name;
use tempfile::TempDir;

use super::disk::crash;
use super::queues::{self, QueueReader};
use super::{Report, Request, take_over};
use crate::config::export::ExportOptions;
use crate::nsqd::export;
use crate::nsqd::metadata::{self, Topics};
use crate::nsqd::startup::progress::Progress;

const MAX_MSG_BYTES: usize = 1 << 20;
/// 2026-11-23, in nanoseconds.
const NOW_NS: i64 = 1_795_400_000 * 1_000_000_000;

/// Timestamp, attempts and body.
type Kept = (i64, u16, Vec<u8>);
/// The messages of each queue that has any, in their order.
type Content = BTreeMap<String, Vec<Kept>>;

fn fixture() -> TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nsq-data");
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    directory
}

fn files(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeSet::new() };
    let entries = entries.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn backups(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let named = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with("nsq-"));
    named.map(|entry| entry.path()).collect()
}

/// What the original's files in a directory hold.
fn content(directory: &Path) -> Content {
    let mut content = Content::new();
    for (queue, files) in &queues::find(directory).unwrap().lasting {
        let mut reader = QueueReader::new(files, MAX_MSG_BYTES);
        while let Some(message) = reader.next().unwrap() {
            let Message { timestamp_ns, attempts, body, .. } = message;
            let kept = (timestamp_ns, attempts, body.to_vec());
            content.entry(queue.to_string()).or_default().push(kept);
        }
        assert_eq!(reader.skipped, []);
    }
    content
}

fn sorted(mut content: Content) -> Content {
    content.values_mut().for_each(|messages| messages.sort());
    content
}

fn topics(directory: &Path) -> Topics {
    metadata::load(directory).unwrap().content.topics
}

fn request(directory: &Path, max_bytes_per_file: u64) -> Request<'_> {
    static PROGRESS: LazyLock<Progress> = LazyLock::new(Progress::default);
    let max_msg_bytes = MAX_MSG_BYTES;
    let progress = &PROGRESS;
    Request { directory, node_id: 5, max_msg_bytes, max_bytes_per_file, now_ns: NOW_NS, progress }
}

fn take(directory: &Path) -> Option<Report> {
    take_over(&request(directory, 100 << 20), &mut topics(directory)).unwrap()
}

/// What a data path of ours holds, by way of an export.
fn exported(directory: &Path) -> Content {
    let to = tempfile::tempdir().unwrap();
    export_to(directory, to.path());
    content(to.path())
}

fn export_to(directory: &Path, to: &Path) -> export::Report {
    let (data_path, to) = (directory.to_owned(), to.to_owned());
    export::export(&ExportOptions { data_path, to, max_bytes_per_file: 2000 }).unwrap()
}

/// An original's data path in the making.
struct Original {
    directory: TempDir,
}

impl Original {
    /// With topics and channels like `t`, `t:c`.
    fn new(queues: &[&str]) -> Original {
        let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for queue in queues {
            let (topic, channel) = queue.split_once(':').unwrap_or((queue, ""));
            let channels = topics.entry(topic).or_default();
            if !channel.is_empty() {
                channels.push(format!(r#"{{"name":"{channel}","paused":false}}"#));
            }
        }
        let topics: Vec<_> = topics
            .iter()
            .map(|(topic, channels)| {
                let channels = channels.join(",");
                format!(r#"{{"name":"{topic}","paused":false,"channels":[{channels}]}}"#)
            })
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let text = format!(r#"{{"topics":[{}],"version":"1.3.0"}}"#, topics.join(","));
        fs::write(directory.path().join("nsqd.dat"), text).unwrap();
        Original { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a data file.
    fn data(&self, queue: &str, number: u64, bytes: &[u8]) {
        fs::write(self.path().join(named(queue).data_file(number)), bytes).unwrap();
    }

    fn meta(&self, queue: &str, read: (u64, u64), write: (u64, u64)) {
        let at = |(file, offset)| Position { file, offset };
        let meta = Meta { depth: 1, read: at(read), write: at(write) };
        fs::write(self.path().join(named(queue).meta_file()), meta.text()).unwrap();
    }

    /// Writes a queue with these messages, all of them unread.
    fn queue(&self, queue: &str, messages: &[Vec<u8>]) {
        let bytes = messages.concat();
        self.data(queue, 0, &bytes);
        self.meta(queue, (0, 0), (0, bytes.len() as u64));
    }
}

fn named(queue: &str) -> Queue {
    Queue::of_file(&format!("{queue}.diskqueue.meta.dat")).unwrap().0
}

/// A record; its id follows from the number.
fn record(number: u64, attempts: u16, body: &[u8]) -> Vec<u8> {
    let id: [u8; 16] = format!("{number:016x}").into_bytes().try_into().unwrap();
    let mut out = Vec::new();
    let timestamp_ns = 1_000_000 * number as i64;
    nsq_format::write(&mut out, &Message { timestamp_ns, attempts, id, body });
    out
}

fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|number| record(number, 0, &number.to_le_bytes())).collect()
}

fn bodies(content: &Content, queue: &str) -> Vec<u64> {
    let messages = content.get(queue).map_or(&[][..], Vec::as_slice);
    messages
        .iter()
        .map(|(_, _, body)| u64::from_le_bytes(body.as_slice().try_into().unwrap()))
        .collect()
}

fn order(number: usize) -> Vec<u8> {
    let mut body = format!("order {number:03} ").into_bytes();
    body.extend((0..40 + number).map(|at| ((number * 7 + at) % 256) as u8));
    body
}

#[test]
fn what_the_original_left_is_ours() {
    let directory = fixture();
    let path = directory.path();
    let before = files(path);
    let wanted = content(path);
    let report = take(path).unwrap();
    assert_eq!((report.messages, report.shared, report.skipped_bytes), (135, 35, 0));
    let got = exported(path);
    assert_eq!(sorted(got.clone()), sorted(wanted));

    // And these are the messages that were published.
    let of = |queue: &str| -> Vec<_> {
        got[queue].iter().map(|(_, attempts, body)| (*attempts, body.clone())).collect()
    };
    assert_eq!(of("orders:archive"), (0..60).map(|n| (0, order(n))).collect::<Vec<_>>());
    let delivered = [3, 4, 20, 21, 22, 23, 24].map(|n| (1, order(n)));
    let billing: Vec<_> = delivered.into_iter().chain((25..60).map(|n| (0, order(n)))).collect();
    // Those that were delivered are not shared, so they come last here.
    let (mut of_billing, mut billing) = (of("orders:billing"), billing);
    assert_eq!(of_billing.iter().position(|(attempts, _)| *attempts == 1), Some(35));
    of_billing.sort();
    billing.sort();
    assert_eq!(of_billing, billing);
    assert_eq!(of("nobody"), (0..5).map(nobody).collect::<Vec<_>>());
    assert_eq!(of("events.v1.raw").len(), 25);
    assert_eq!(of("halted:c"), [(0, b"before the pause".to_vec())]);
    assert_eq!(of("halted"), [(0, b"after it".to_vec()), (0, b"and more".to_vec())]);
    assert_eq!(got.len(), 6);

    // Its files lie in the backup, but for what it had put aside itself.
    let [backup] = &backups(path)[..] else { panic!("{:?}", backups(path)) };
    let kept = |name: &String| name.ends_with(".bad") || name == "nsqd.dat";
    let left: BTreeSet<_> = before.iter().filter(|name| kept(name)).cloned().collect();
    assert_eq!(files(path), left);
    let moved = before.into_iter().filter(|name| !name.ends_with(".bad")).collect();
    assert_eq!(files(backup), moved);
    assert_eq!(files(&path.join("log")).len(), 2);
    assert_eq!(take(path), None, "a second start finds nothing");
}

fn nobody(number: usize) -> (u16, Vec<u8>) {
    (0, [format!("n{number}\n\0").as_bytes(), b"\xff"].concat())
}

#[test]
fn an_export_is_a_data_path_of_the_original() {
    let directory = fixture();
    let path = directory.path();
    let wanted = (content(path), topics(path));
    take(path);
    let before = snapshot(path);
    let to = tempfile::tempdir().unwrap();
    let report = export_to(path, to.path());
    assert_eq!((report.topics, report.queues, report.messages), (5, 9, 135));
    assert_eq!((report.deferred, report.damaged), (0, 0));
    assert_eq!(snapshot(path), before, "the data path is left as it was");
    // What was read was moved along, so the positions are the original's only where nothing was.
    for name in ["nobody.diskqueue.meta.dat", "orders:archive.diskqueue.meta.dat"] {
        let [backup] = &backups(path)[..] else { panic!("one backup") };
        let read = |directory: &Path| fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(read(to.path()), read(backup), "{name}");
    }
    let again = to.path();
    assert_eq!(sorted(content(again)), sorted(wanted.0.clone()));
    assert_eq!(topics(again), wanted.1);
    // There and back again.
    assert_eq!(take(again).unwrap().messages, 135);
    assert_eq!(sorted(exported(again)), sorted(wanted.0));
}

/// All files below a directory.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(snapshot(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn without_files_of_the_original_nothing_happens() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("nsqd.dat"), r#"{"topics":null}"#).unwrap();
    fs::write(directory.path().join("t.diskqueue.000000.dat.bad"), "x").unwrap();
    let before = snapshot(directory.path());
    assert_eq!(take(directory.path()), None);
    assert_eq!(snapshot(directory.path()), before);
}

#[test]
fn queues_without_messages_are_put_aside_too() {
    let original = Original::new(&["t:c"]);
    original.queue("t", &[]);
    original.data("t:c", 3, &records(0..3).concat());
    let end = fs::metadata(original.path().join("t:c.diskqueue.000003.dat")).unwrap().len();
    original.meta("t:c", (3, end), (3, end));
    assert_eq!(take(original.path()), Some(Report::default()));
    assert_eq!(files(original.path()), BTreeSet::from(["nsqd.dat".to_owned()]));
    assert!(exported(original.path()).is_empty());
}

#[test]
fn what_was_written_after_the_meta_file_is_there() {
    let original = Original::new(&["t:c", "u:c"]);
    // In the file that was being written, and in those behind it.
    for number in 0..3 {
        original.data("t:c", number, &records(number * 10..number * 10 + 10).concat());
    }
    original.meta("t:c", (0, 38 * 2), (1, 38 * 3));
    // The file in front of the read position was not removed yet.
    original.data("u:c", 4, &records(0..5).concat());
    original.data("u:c", 5, &records(5..8).concat());
    original.meta("u:c", (5, 0), (5, 0));
    assert_eq!(take(original.path()).unwrap().messages, 28 + 3);
    let got = exported(original.path());
    assert_eq!(bodies(&got, "t:c"), (2..30).collect::<Vec<_>>());
    assert_eq!(bodies(&got, "u:c"), [5, 6, 7]);
}

#[test]
fn a_queue_without_a_meta_file_is_read_from_its_first_file_on() {
    let original = Original::new(&["t:c", "u:c", "v:c"]);
    original.data("t:c", 7, &records(0..5).concat());
    original.data("t:c", 8, &records(5..6).concat());
    original.queue("u:c", &records(0..4));
    fs::write(original.path().join("u:c.diskqueue.meta.dat"), "4\n0,").unwrap();
    fs::write(original.path().join("u:c.diskqueue.meta.dat.77.tmp"), "4\n0,").unwrap();
    // Positions that are the wrong way round: nothing is passed over.
    original.queue("v:c", &records(0..4));
    original.meta("v:c", (0, 38 * 3), (0, 38));
    take(original.path()).unwrap();
    let got = exported(original.path());
    assert_eq!(bodies(&got, "t:c"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(bodies(&got, "u:c"), [0, 1, 2, 3]);
    assert_eq!(bodies(&got, "v:c"), [1, 2, 3]);
    assert_eq!(files(original.path()), BTreeSet::from(["nsqd.dat".to_owned()]));
}

#[test]
fn damage_costs_the_rest_of_its_file_and_no_more() {
    let original = Original::new(&["t:c"]);
    let good = records(0..3).concat();
    let length = [&good[..], &[0, 0, 0, 25], &records(3..6).concat()].concat();
    original.data("t:c", 0, &length);
    original.data("t:c", 1, &records(10..13).concat()[..38 * 3 - 1]);
    // The third is gone.
    original.data("t:c", 3, &records(20..23).concat());
    original.data("t:c", 4, &[records(30..31).concat(), vec![0; 100]].concat());
    original.meta("t:c", (0, 38), (4, 38));
    let report = take(original.path()).unwrap();
    assert_eq!((report.messages, report.skipped_files), (2 + 2 + 3 + 1, 3));
    assert_eq!(report.skipped_bytes, 4 + 38 * 3 + 37 + 100);
    assert_eq!(bodies(&exported(original.path()), "t:c"), [1, 2, 10, 11, 20, 21, 22, 30]);
    let [backup] = &backups(original.path())[..] else { panic!("one backup") };
    assert_eq!(fs::read(backup.join("t:c.diskqueue.000000.dat")).unwrap(), length);
}

#[test]
fn a_message_in_several_channels_is_stored_once() {
    let original = Original::new(&["t:a", "t:b", "t:c", "t:none"]);
    original.queue("t:a", &records(0..500));
    original.queue("t:b", &records((0..500).filter(|number| number % 3 == 0)));
    // Another body under a known id, a message twice, and some that nobody else has.
    let mut c = records(450..470);
    c.push(record(3, 0, &1000_u64.to_le_bytes()));
    c.extend(records([455, 600, 601]));
    original.queue("t:c", &c);
    original.queue("t", &records(600..605));
    let report = take(original.path()).unwrap();
    assert_eq!((report.messages, report.shared), (500 + 167 + 24 + 5, 167 + 20));
    let got = exported(original.path());
    assert_eq!(bodies(&got, "t:a"), (0..500).collect::<Vec<_>>());
    assert_eq!(bodies(&got, "t:b"), (0..500).step_by(3).collect::<Vec<_>>());
    let mut c: Vec<u64> = (450..470).collect();
    c.extend([1000, 455, 600, 601]);
    assert_eq!(bodies(&got, "t:c"), c);
    assert_eq!(bodies(&got, "t"), (600..605).collect::<Vec<_>>());
    assert_eq!(got.len(), 4, "the channel that had nothing has nothing");
}

#[test]
fn messages_of_any_size_fill_files_of_any_size() {
    let bodies = |sizes: &[usize]| -> Vec<Vec<u8>> {
        let each = sizes.iter().enumerate();
        each.map(|(at, &size)| record(at as u64, 0, &vec![at as u8; size])).collect()
    };
    for max_bytes_per_file in [1, 100_000, 100 << 20] {
        let original = Original::new(&["big", "t:c"]);
        // One larger than --max-msg-size, which was higher once.
        original.queue("big", &bodies(&[0, 1, 3 << 20, 1 << 20, 10, 1 << 20, 5]));
        original.queue("t:c", &bodies(&[1000; 300]));
        let wanted = content(original.path());
        let request = request(original.path(), max_bytes_per_file);
        take_over(&request, &mut topics(original.path())).unwrap().unwrap();
        assert_eq!(exported(original.path()), wanted);
        let stores = files(&original.path().join("log"));
        let stores = stores.iter().filter(|name| name.ends_with(".store")).count();
        assert!((max_bytes_per_file == 100 << 20) == (stores == 1), "{stores} stores");
    }
}

#[test]
fn topics_and_channels_that_the_metadata_lack_are_created() {
    let original = Original::new(&["known"]);
    original.queue("known:new", &records(0..2));
    original.queue("new:c", &records(0..3));
    original.queue("empty:c", &[]);
    original.queue("gone#ephemeral:c", &records(0..4));
    original.queue("known:gone#ephemeral", &records(0..4));
    let mut topics = topics(original.path());
    take_over(&request(original.path(), 100 << 20), &mut topics).unwrap().unwrap();
    let words: Vec<String> = topics
        .values()
        .flat_map(|topic| {
            let channels = topic.channels.iter().map(|channel| channel.name.to_string());
            std::iter::once(topic.name.to_string()).chain(channels)
        })
        .collect();
    assert_eq!(words, ["known", "new", "new", "c"]);
    // The file was not written yet: the log files alone say it too.
    let got = exported(original.path());
    assert_eq!(bodies(&got, "known:new"), [0, 1]);
    assert_eq!(bodies(&got, "new:c"), [0, 1, 2]);
    assert_eq!(got.len(), 2);
    assert_eq!(files(original.path()), BTreeSet::from(["nsqd.dat".to_owned()]));
}

#[test]
fn a_takeover_may_end_at_every_step() {
    let wanted = sorted(content(fixture().path()));
    let moved = {
        let all = files(fixture().path()).into_iter();
        all.filter(|name| !name.ends_with(".bad")).collect::<BTreeSet<_>>()
    };
    let mut interrupted = 0;
    for steps in 0.. {
        let directory = fixture();
        let path = directory.path();
        let request = request(path, 5000);
        let outcome = crash::after(steps, || take_over(&request, &mut topics(path)));
        let whole = outcome.is_ok();
        if !whole {
            interrupted += 1;
            // The second start ends early as well, and the third does not.
            let again = crash::after(steps / 2, || take_over(&request, &mut topics(path)));
            assert!(again.is_err() || steps > 0);
            take(path);
        }
        assert_eq!(sorted(exported(path)), wanted, "after {steps} steps");
        let backups = backups(path);
        let backed_up: BTreeSet<_> = backups.iter().flat_map(|backup| files(backup)).collect();
        assert_eq!(backed_up, moved, "after {steps} steps");
        assert_eq!(backups.len(), 1, "after {steps} steps");
        let log = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().file_name());
        let hidden: Vec<_> = log.filter(|name| name.to_str().unwrap().starts_with('.')).collect();
        assert!(hidden.is_empty(), "after {steps} steps: {hidden:?}");
        if whole {
            break;
        }
    }
    assert!(interrupted > 40, "{interrupted}");
}

#[test]
fn until_the_commit_the_original_has_everything() {
    for steps in 0.. {
        let directory = fixture();
        let path = directory.path();
        let before = snapshot(path);
        let request = request(path, 5000);
        let outcome = crash::after(steps, || take_over(&request, &mut topics(path)));
        if path.join("log/.takeover.plan").exists() || outcome.is_ok() {
            assert!(steps > 10, "{steps} steps to a commit");
            break;
        }
        let mut after = snapshot(path);
        after.retain(|name, _| !name.starts_with(path.join("log")));
        assert_eq!(after, before, "after {steps} steps");
    }
}

#[test]
fn a_data_path_may_be_taken_over_more_than_once() {
    let original = Original::new(&["t:a", "t:b", "waits", "u:c"]);
    original.queue("t:a", &records(0..10));
    original.queue("t:b", &records(5..10));
    original.queue("waits", &records(0..3));
    original.queue("u:c", &records([0]));
    original.queue("u", &records([1]));
    take(original.path()).unwrap();
    // Somebody went back to the original without an export, and on with it.
    original.queue("t:a", &[record(20, 2, &20_u64.to_le_bytes())]);
    original.queue("t:b", &records(20..22));
    original.queue("waits", &records(20..23));
    original.queue("u:c", &records([2]));
    take(original.path()).unwrap();
    let got = exported(original.path());
    assert_eq!(bodies(&got, "t:a"), (0..10).chain([20]).collect::<Vec<_>>());
    assert_eq!(got["t:a"].last().unwrap().1, 2);
    assert_eq!(bodies(&got, "t:b"), [5, 6, 7, 8, 9, 20, 21]);
    assert_eq!(bodies(&got, "waits"), [0, 1, 2, 20, 21, 22]);
    // Channel messages cannot come behind those that wait, so these go to the channel.
    assert_eq!(bodies(&got, "u:c"), [0, 1, 2]);
    assert!(bodies(&got, "u").is_empty());
    assert_eq!(backups(original.path()).len(), 2);
}

#[test]
fn a_file_that_changed_since_the_commit_is_taken_over_again() {
    let original = Original::new(&["t:c"]);
    original.queue("t:c", &records(0..3));
    let request = request(original.path(), 5000);
    let plan = original.path().join("log/.takeover.plan");
    // To the commit, and no further.
    for steps in 0.. {
        let run = || take_over(&request, &mut topics(original.path()));
        assert!(crash::after(steps, run).is_err());
        if plan.exists() {
            break;
        }
    }
    // Then the original is started once more, and gets a message.
    original.queue("t:c", &records(0..4));
    take(original.path()).unwrap();
    let got: BTreeSet<_> = bodies(&exported(original.path()), "t:c").into_iter().collect();
    assert_eq!(got, (0..4).collect());
}

/// Small numbers from one seed, so that a failure comes back.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn any_mix_of_queues_comes_over_whole() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let queues = ["t:a", "t:b", "t:c", "t", "u", "u:a", "v.w:a", "v.w:b"];
        let original = Original::new(&queues);
        for queue in queues {
            let mut file = 0;
            let mut bytes = Vec::new();
            for number in 0..dice.roll(40) {
                if dice.roll(3) == 0 {
                    continue;
                }
                let attempts =
                    if dice.roll(4) == 0 && queue.contains(':') { 1 + dice.roll(9) } else { 0 };
                bytes.extend(record(number, attempts as u16, &number.to_le_bytes()));
                if dice.roll(10) == 0 {
                    original.data(queue, file, &bytes);
                    bytes.clear();
                    file += 1;
                }
            }
            original.data(queue, file, &bytes);
            original.meta(queue, (0, 0), (file, bytes.len() as u64));
        }
        let wanted = content(original.path());
        let max_bytes_per_file = 1 << dice.roll(20);
        let request = request(original.path(), max_bytes_per_file);
        take_over(&request, &mut topics(original.path())).unwrap().unwrap();
        assert_eq!(sorted(exported(original.path())), sorted(wanted), "seed {seed}");
    }
}

#[test]
fn a_disk_that_refuses_is_named_and_nothing_changes() {
    let original = Original::new(&["t:c"]);
    original.queue("t:c", &records(0..3));
    let request = request(original.path(), 5000);
    let run = || take_over(&request, &mut topics(original.path()));
    let problem = crash::after(1, run).unwrap_err();
    assert!(problem.contains("(nothing has changed yet; it needs about 114 bytes"), "{problem}");
    fs::remove_dir(original.path().join("log")).unwrap();
    fs::write(original.path().join("log"), "in the way").unwrap();
    let before = snapshot(original.path());
    let problem = take_over(&request, &mut topics(original.path())).unwrap_err();
    assert!(problem.ends_with("log/.takeover.plan: not a directory"), "{problem}");
    assert_eq!(snapshot(original.path()), before);
}

#[test]
fn ids_are_of_this_broker_and_rise() {
    let original = Original::new(&["t:c"]);
    original.queue("t:c", &records(0..3));
    take(original.path()).unwrap();
    let to = tempfile::tempdir().unwrap();
    export_to(original.path(), to.path());
    let found = queues::find(to.path()).unwrap();
    let topic = Name::parse(b"t").unwrap();
    let files = &found.lasting[&Queue { topic, channel: Name::parse(b"c") }];
    let mut reader = QueueReader::new(files, MAX_MSG_BYTES);
    let first = shards::id::first_sequence(NOW_NS);
    for sequence in first..first + 3 {
        let message = reader.next().unwrap().unwrap();
        assert_eq!(message.id, shards::id::encode(sequence, 5));
    }
}
