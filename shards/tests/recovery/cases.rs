//! One history for each thing that recovery promises, or that once went wrong.

use std::cell::Cell;

use shards::disk::{DiskError, Role};
use shards::journal::entry::{self, Run};
use shards::journal::scan::ReadAt;
use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::recover::{LogFile, Recovered, RecoveredTopic, recover};

use super::disk::{Disk, File, Message, Sink, name};
use super::view::{records, recovered, view};

const EVERYTHING: usize = usize::MAX;

fn message(sequence: u64, length: usize) -> Message {
    let body = format!("{sequence:0length$}").into_bytes();
    Message { sequence, published_ms: 1_800_000_000_000, delay_ms: 0, body }
}

/// A run of messages with bodies of this length.
fn run(disk: &mut Disk, file: u32, sequences: std::ops::RangeInclusive<u64>, length: usize) {
    let messages: Vec<Message> = sequences.map(|sequence| message(sequence, length)).collect();
    disk.append_run(file, name("t"), &messages.iter().collect::<Vec<_>>());
}

/// A disk of the first start, with a journal.
fn start() -> (Disk, u32) {
    let mut disk = Disk { generation: 1, ..Disk::default() };
    let journal = disk.open(Role::Journal, 0, 0);
    (disk, journal)
}

fn metadata(channels: &[&str]) -> Vec<TopicMetadata> {
    let channels = channels.iter().map(|text| ChannelMetadata::new(name(text), false));
    vec![TopicMetadata { channels: channels.collect(), ..TopicMetadata::new(name("t")) }]
}

fn topic(found: &Recovered) -> &RecoveredTopic {
    assert_eq!(found.topics.len(), 1);
    &found.topics[0]
}

fn sequences(disk: &Disk, found: &Recovered) -> Vec<u64> {
    records(disk, topic(found)).into_keys().collect()
}

fn damage(disk: &mut Disk, file: u32, pattern: &str) {
    let bytes = &mut disk.files.get_mut(&file).unwrap().bytes;
    let at = bytes.windows(pattern.len()).position(|window| window == pattern.as_bytes());
    bytes[at.unwrap()] ^= 0x40;
}

#[test]
fn small_runs_are_gathered_and_large_ones_stay() {
    let (mut disk, journal) = start();
    for first in (1..=3000).step_by(10) {
        run(&mut disk, journal, first..=first + 9, 1000);
    }
    run(&mut disk, journal, 3001..=3100, 1000);
    run(&mut disk, journal, 3101..=3101, 10);
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    let segments = &topic(&found).segments;
    assert_eq!(found.report.blocks_written, 4, "three full blocks or less, and the last run");
    assert_eq!(segments.len(), 5);
    assert!(segments.iter().all(|segment| segment.place.bytes <= 1 << 20));
    assert_eq!(segments[3].place.file, journal);
    assert_eq!((segments[3].first, segments[3].last), (3001, 3100));
    assert_eq!(sequences(&disk, &found), (1..=3101).collect::<Vec<_>>());
    assert_eq!((found.report.messages, found.report.files), (3101, 1));
    assert_eq!(topic(&found).holes, []);
}

#[test]
fn a_damaged_record_is_a_hole() {
    let (mut disk, journal) = start();
    run(&mut disk, journal, 1..=5, 20);
    run(&mut disk, journal, 6..=105, 1000);
    damage(&mut disk, journal, "00000000000000000003");
    damage(&mut disk, journal, &message(50, 1000).body.escape_ascii().to_string());
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    assert_eq!(topic(&found).holes, [3, 50].map(|at| Range { first: at, last: at }));
    let left: Vec<u64> = (1..=105).filter(|at| ![3, 50].contains(at)).collect();
    assert_eq!(sequences(&disk, &found), left);
    assert_eq!((found.report.damaged, found.report.records_lost), (2, 2));
    // The channel does not stop at what is not there.
    let skips = [3, 50].map(|at| Range { first: at, last: at });
    assert_eq!(
        topic(&found).channels[0].1,
        ChannelState { cursor: 1, skips: skips.into(), ..ChannelState::default() }
    );
}

/// The last run of a file, with damage in front of what is good and behind it.
#[test]
fn what_is_good_between_two_damaged_records_stays() {
    for role in [Role::Store, Role::Journal] {
        let (mut disk, _) = start();
        let file = disk.open(role, 0, 0);
        run(&mut disk, file, 1..=9, 20);
        damage(&mut disk, file, "00000000000000000003");
        damage(&mut disk, file, "00000000000000000009");
        let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
        assert_eq!(sequences(&disk, &found), [1, 2, 4, 5, 6, 7, 8], "{role:?}");
        assert_eq!(found.report.records_lost, 2);
    }
}

/// Nothing says that an append came to its end: what lies behind the first damage may be of an
/// earlier use of the file.
#[test]
fn of_a_torn_append_only_the_start_counts() {
    let (mut disk, journal) = start();
    run(&mut disk, journal, 1..=9, 20);
    damage(&mut disk, journal, "00000000000000000003");
    damage(&mut disk, journal, "00000000000000000009");
    let bytes = &mut disk.files.get_mut(&journal).unwrap().bytes;
    *bytes.last_mut().unwrap() ^= 1;
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    assert_eq!(sequences(&disk, &found), [1, 2]);
}

#[test]
fn a_copy_makes_good_for_what_is_damaged() {
    for room in [EVERYTHING, 0] {
        let (mut disk, journal) = start();
        let store = disk.open(Role::Store, 0, 0);
        for sequence in 1..=100 {
            run(&mut disk, journal, sequence..=sequence, 20);
        }
        run(&mut disk, store, 1..=100, 20);
        damage(&mut disk, store, "00000000000000000040");
        damage(&mut disk, journal, "00000000000000000041");
        let found = recovered(&mut disk, &metadata(&["c"]), room);
        assert_eq!(sequences(&disk, &found), (1..=100).collect::<Vec<_>>());
        assert_eq!((found.report.damaged, found.report.records_lost), (2, 0));
        assert_eq!(topic(&found).segments.len(), if room == 0 { 3 } else { 1 });
    }
}

#[test]
fn a_block_that_has_everything_is_not_written_again() {
    let (mut disk, journal) = start();
    let store = disk.open(Role::Store, 0, 0);
    (1..=100).for_each(|sequence| run(&mut disk, journal, sequence..=sequence, 20));
    run(&mut disk, store, 1..=60, 20);
    run(&mut disk, store, 61..=100, 20);
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    assert_eq!(found.report.blocks_written, 0);
    let places = topic(&found).segments.iter().map(|segment| (segment.place.file, segment.first));
    assert_eq!(places.collect::<Vec<_>>(), [(store, 1), (store, 61)]);
}

#[test]
fn a_full_disk_loses_nothing() {
    let (mut disk, journal) = start();
    let store = disk.open(Role::Store, 0, 0);
    run(&mut disk, store, 1..=10, 20);
    run(&mut disk, store, 8..=20, 20);
    run(&mut disk, journal, 15..=30, 20);
    run(&mut disk, journal, 31..=33, 20);
    let found = recovered(&mut disk, &metadata(&["c"]), 0);
    assert!(found.report.refused.as_ref().is_some_and(|error| error.full));
    assert_eq!(sequences(&disk, &found), (1..=33).collect::<Vec<_>>());
    let counts: u32 = topic(&found).segments.iter().map(|segment| segment.count).sum();
    assert_eq!(counts, 33);
}

#[test]
fn a_bad_sector_costs_what_is_in_it() {
    let (mut disk, journal) = start();
    run(&mut disk, journal, 1..=200, 1000);
    run(&mut disk, journal, 201..=400, 20);
    disk.files.get_mut(&journal).unwrap().bad = 40_000..40_512;
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    let left = sequences(&disk, &found);
    let lost: Vec<u64> = (1..=400).filter(|sequence| !left.contains(sequence)).collect();
    assert!(!lost.is_empty() && lost.len() <= 9, "{lost:?}");
    assert!(lost[lost.len() - 1] - lost[0] < 9);
    assert!(found.report.read_error.is_some() && found.report.damaged > 0);
    assert_eq!(found.report.records_lost, lost.len() as u64);
}

#[test]
fn a_channel_that_only_the_metadata_know_gets_everything() {
    let (mut disk, journal) = start();
    run(&mut disk, journal, 5..=9, 20);
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    let fresh = ChannelState { cursor: 5, ..ChannelState::default() };
    assert_eq!(topic(&found).channels, [(name("c"), fresh)]);
    assert_eq!(topic(&found).state, TopicState { handed: None, head: 10 });
    assert_eq!(found.sequence_floor, 10);
}

#[test]
fn a_topic_without_entries_is_new() {
    let (mut disk, _) = start();
    disk.open(Role::Store, 0, 77);
    let found = recovered(&mut disk, &metadata(&[]), EVERYTHING);
    assert_eq!(topic(&found).state, TopicState { handed: Some(0), head: 0 });
    assert_eq!(found.sequence_floor, 77);
}

#[test]
fn what_a_deleted_topic_left_in_a_store_stays_deleted() {
    let (mut disk, _) = start();
    let store = disk.open(Role::Store, 0, 0);
    run(&mut disk, store, 1..=100, 20);
    assert_eq!(recovered(&mut disk, &[], EVERYTHING).topics, []);
    let found = recovered(&mut disk, &metadata(&[]), EVERYTHING);
    assert_eq!(sequences(&disk, &found).len(), 100, "it is there, had the topic not been deleted");
}

#[test]
fn a_journal_of_an_earlier_start_does_not_bring_topics_and_channels_back() {
    let (mut disk, old) = start();
    let other = name("other");
    run(&mut disk, old, 1..=100, 1000);
    disk.append(old, |out| {
        entry::channel(out, &name("t"), &name("gone"), &ChannelState::default());
        entry::topic(out, &other, &TopicState { handed: Some(1), head: 9 });
    });
    assert_eq!(recovered(&mut disk, &[], EVERYTHING).topics.len(), 2, "they were there");
    disk.generation = 2;
    let journal = disk.open(Role::Journal, 0, 0);
    disk.append(journal, |out| {
        let state = ChannelState { cursor: 90, ..ChannelState::default() };
        entry::topic(out, &name("t"), &TopicState { handed: None, head: 101 });
        entry::channel(out, &name("t"), &name("c"), &state);
    });
    let found = recovered(&mut disk, &[], EVERYTHING);
    let names = topic(&found).channels.iter().map(|(name, _)| *name);
    assert_eq!(names.collect::<Vec<_>>(), [name("c")]);
}

#[test]
fn a_topic_keeps_what_came_after_its_last_channel() {
    let (mut disk, journal) = start();
    run(&mut disk, journal, 1..=10, 20);
    disk.append(journal, |out| {
        entry::channel_deleted(out, &name("t"), &name("c"));
    });
    run(&mut disk, journal, 11..=12, 20);
    let found = recovered(&mut disk, &metadata(&[]), EVERYTHING);
    assert_eq!(topic(&found).state, TopicState { handed: Some(11), head: 13 });
    assert_eq!(sequences(&disk, &found), [11, 12]);
}

/// Its channel was deleted, which the metadata do not know yet.
#[test]
fn a_paused_topic_keeps_its_messages_from_a_channel_that_comes_back() {
    let (mut disk, journal) = start();
    run(&mut disk, journal, 1..=10, 20);
    disk.append(journal, |out| {
        entry::topic(out, &name("t"), &TopicState { handed: Some(5), head: 11 });
        entry::channel_deleted(out, &name("t"), &name("c"));
    });
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    assert_eq!(topic(&found).state, TopicState { handed: Some(5), head: 11 });
    assert_eq!(topic(&found).channels[0].1.cursor, 5);
    assert_eq!(view(&disk, &found)[&name("t")].own.len(), 6);
}

#[test]
fn a_lost_snapshot_of_a_long_backlog_costs_no_memory() {
    let (mut disk, journal) = start();
    for first in (1..=300_000).step_by(5000) {
        run(&mut disk, journal, first..=first + 4999, 1);
    }
    let finished = [(1, 10), (150_000, 150_010), (299_990, 299_998)];
    let finished = finished.map(|(first, last)| Range { first, last });
    disk.append(journal, |out| {
        entry::finished(out, &name("t"), &name("c"), &finished);
    });
    let found = recovered(&mut disk, &metadata(&["c"]), EVERYTHING);
    let state = &topic(&found).channels[0].1;
    assert_eq!((state.cursor, &state.skips[..]), (11, &finished[1..]));
    assert_eq!(state.outstanding, []);
    let waiting = &view(&disk, &found)[&name("t")].channels[&name("c")];
    assert_eq!(waiting.len(), 300_000 - 30);
}

#[test]
fn a_deferred_message_that_was_finished_ahead_of_the_cursor_stays_finished() {
    let (mut disk, journal) = start();
    let messages: Vec<Message> =
        (1..=4).map(|at| Message { delay_ms: 500 * (at % 2), ..message(at, 20) }).collect();
    disk.append_run(journal, name("t"), &messages.iter().collect::<Vec<_>>());
    let outstanding = vec![Outstanding { sequence: 3, attempts: 2, due_ms: 0 }];
    let state = ChannelState { cursor: 1, outstanding, ..ChannelState::default() };
    disk.append(journal, |out| {
        entry::topic(out, &name("t"), &TopicState { handed: None, head: 5 });
        entry::channel(out, &name("t"), &name("c"), &state);
    });
    let late = Message { delay_ms: 250, ..message(5, 20) };
    disk.append_run(journal, name("t"), &[&late]);
    let found = recovered(&mut disk, &[], EVERYTHING);
    let waiting = view(&disk, &found)[&name("t")].channels[&name("c")].clone();
    let expected = [(2, (0, 0)), (3, (2, 0)), (4, (0, 0)), (5, (0, 1_800_000_000_250))];
    assert_eq!(waiting.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn an_outstanding_message_that_is_gone_is_counted() {
    let (mut disk, journal) = start();
    let messages = [3, 9].map(|sequence| Outstanding { sequence, attempts: 1, due_ms: 0 });
    let outstanding = messages.into();
    let state = ChannelState { cursor: 11, outstanding, ..ChannelState::default() };
    disk.append(journal, |out| {
        entry::channel(out, &name("t"), &name("c"), &state);
    });
    run(&mut disk, journal, 9..=10, 20);
    let found = recovered(&mut disk, &[], EVERYTHING);
    assert_eq!(topic(&found).channels[0].1.outstanding, messages[1..]);
    assert_eq!(found.report.outstanding_lost, 1);
}

/// What is missing in a snapshot counts as finished: so one of which a part is damaged, or cut off,
/// is not believed.
#[test]
fn a_snapshot_without_one_of_its_parts_is_none() {
    let (mut disk, journal) = start();
    let count = 40_000;
    run(&mut disk, journal, 1..=count, 1);
    let list = (1..=count).map(|sequence| Outstanding { sequence, attempts: 1, due_ms: 0 });
    let outstanding = list.collect();
    let state = ChannelState { cursor: count + 1, outstanding, ..ChannelState::default() };
    let length = |disk: &Disk| disk.files[&journal].bytes.len();
    let before = length(&disk);
    disk.append(journal, |out| {
        entry::channel(out, &name("t"), &name("c"), &state);
    });
    let waiting = |disk: &mut Disk| {
        let found = recovered(disk, &metadata(&["c"]), EVERYTHING);
        view(disk, &found)[&name("t")].channels[&name("c")].clone()
    };
    let whole = waiting(&mut disk.clone());
    assert!(whole.len() as u64 == count && whole.values().all(|known| *known == (1, 0)));
    // In the part, and in the entry behind it; then the same with the rest cut off.
    for at in [before + 100, length(&disk) - 100] {
        let mut damaged = disk.clone();
        damaged.files.get_mut(&journal).unwrap().bytes[at] ^= 4;
        assert_eq!(waiting(&mut damaged).len() as u64, count);
        let mut cut = disk.clone();
        cut.files.get_mut(&journal).unwrap().bytes.truncate(at);
        assert_eq!(waiting(&mut cut).len() as u64, count);
    }
}

/// Of a message that a channel keeps back a snapshot says no more than that: its record says until
/// when, and what is not in the snapshot any more is finished.
#[test]
fn what_is_kept_back_is_due_when_its_record_says() {
    let (mut disk, journal) = start();
    let deferred = |sequence| Message { delay_ms: sequence * 10, ..message(sequence, 20) };
    let messages: Vec<Message> = (1..=100).map(deferred).collect();
    disk.append_run(journal, name("t"), &messages.iter().collect::<Vec<_>>());
    let kept = (1..=100).filter(|sequence| sequence % 3 > 0).collect();
    let state = ChannelState { cursor: 101, kept, ..ChannelState::default() };
    disk.append(journal, |out| {
        entry::topic(out, &name("t"), &TopicState { handed: None, head: 101 });
        entry::channel(out, &name("t"), &name("c"), &state);
        entry::finished(out, &name("t"), &name("c"), &[Range { first: 1, last: 9 }]);
        let again = Outstanding { sequence: 11, attempts: 1, due_ms: 7 };
        entry::requeued(out, &name("t"), &name("c"), &[again]);
    });
    disk.append_run(journal, name("t"), &[&deferred(101)]);
    let found = recovered(&mut disk, &[], EVERYTHING);
    let waiting = view(&disk, &found)[&name("t")].channels[&name("c")].clone();
    let due = |sequence| (sequence, (0, 1_800_000_000_000 + sequence * 10));
    let kept = (10..=101).filter(|sequence| sequence % 3 > 0);
    let mut expected: Vec<(u64, (u16, u64))> = kept.map(due).collect();
    expected[1] = (11, (1, 7));
    assert_eq!(waiting.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(topic(&found).channels[0].1.outstanding.len(), 1);
}

/// A file that counts what is read from it.
struct Counted {
    file: File,
    read: Cell<u64>,
}

impl ReadAt for Counted {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let got = self.file.read_at(offset, into)?;
        self.read.set(self.read.get() + got as u64);
        Ok(got)
    }

    fn length(&self) -> u64 {
        self.file.length()
    }
}

/// Ten million messages, in blocks whose records nobody wrote: nobody reads them either.
#[test]
fn a_backlog_in_blocks_costs_nothing() {
    const BLOCKS: u64 = 20;
    const MESSAGES: u64 = 500_000;
    let mut disk = Disk::default();
    let store = disk.open(Role::Store, 0, 0);
    let bytes = 4 << 20;
    for block in 0..BLOCKS {
        let first = 1 + block * MESSAGES;
        let (count, last) = (MESSAGES as u32, first + MESSAGES - 1);
        let run = Run { topic: name("t"), count, first, last, bytes, deferred: false };
        disk.put(store, &run, &vec![0; bytes as usize]);
    }
    // The last entry of a file may be torn: only it is looked at.
    let state = TopicState { handed: None, head: BLOCKS * MESSAGES + 1 };
    disk.append(store, |out| entry::topic(out, &name("t"), &state));
    let file = disk.files.remove(&store).unwrap();
    let (header, length) = (file.header, file.length());
    let bytes = Counted { file, read: Cell::new(0) };
    let files = [LogFile { header, bytes }];
    let mut sink = Sink::new(&mut disk, 0);
    let found = recover(&metadata(&["c"]), &files, &mut sink, &mut |_, _| ());
    assert_eq!(found.report.messages, BLOCKS * MESSAGES);
    let topic = topic(&found);
    assert_eq!((topic.segments.len(), topic.holes.len()), (BLOCKS as usize, 0));
    let fresh = ChannelState { cursor: 1, ..ChannelState::default() };
    assert_eq!(topic.channels, [(name("c"), fresh)]);
    assert!(files[0].bytes.read.get() < length / 4);
}
