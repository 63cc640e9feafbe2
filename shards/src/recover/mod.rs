//! What a broker knows when it starts: from its metadata and the files of its data path, however
//! it ended.
//!
//! ```text
//! files ──► replay: what each topic's entries say, in order
//!             └─► blocks: its messages, each once, in segments ──► sink: what is rewritten
//!                   └─► channels: what each has finished, has out, keeps back
//! ```
//! Recovery changes no file. It may be interrupted and run again at any point: what it wrote into
//! new files is found beside the old, and those are wanted until every topic's state is written
//! anew. Damage costs what is damaged, and is counted; where what became of a message is in
//! doubt, it is delivered again.

mod blocks;
mod channels;
mod dues;
mod overlap;
mod ranges;
mod records;
mod replay;
mod writer;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub use dues::Dues;

use blocks::Blocks;
use channels::Messages;
use replay::{ChannelLog, Replay, TopicLog};

use crate::disk::{DiskError, Place};
use crate::journal::entry::Run;
use crate::journal::file::FileHeader;
use crate::journal::scan::{Entry, Found, ReadAt, Scan};
use crate::journal::state::{ChannelState, Range, TopicState};
use crate::metadata::TopicMetadata;
use crate::policy::{Keep, Retention};
use crate::wire::names::Name;

/// How often progress is told: each time that so much more was read.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A file of the data path whose header makes sense.
#[derive(Debug)]
pub struct LogFile<R> {
    /// Its header.
    pub header: FileHeader,
    /// All of it, header included.
    pub bytes: R,
}

/// Where recovery puts the blocks that it makes.
pub trait BlockSink {
    /// Writes a run into a store, and tells where its records are.
    ///
    /// # Errors
    /// What the disk said. Recovery then writes no more, and leaves records where they are.
    fn write(&mut self, run: &Run, records: &[u8]) -> Result<Place, DiskError>;
}

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Every topic of the metadata, and those that only the files know, in the order of names.
    pub topics: Vec<RecoveredTopic>,
    /// No sequence number from here on was ever given: new topics start there or later.
    pub sequence_floor: u64,
    /// What there was to do.
    pub report: Report,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredTopic {
    /// Its name.
    pub name: Name,
    /// Its place in its messages; the head is 0 when nothing is known of it.
    pub state: TopicState,
    /// Its messages: sorted, without overlap.
    pub segments: Vec<StoredSegment>,
    /// Sequence numbers between the first segment's first and the head that no segment has, as
    /// far as the segments' blocks were read.
    pub holes: Vec<Range>,
    /// Its deferred messages, and when they may be delivered, as their records say: those that it
    /// has not handed over, and those that channels keep back.
    pub dues: Dues,
    /// Its channels, in the order of names. What they skip includes the holes ahead of their
    /// cursors, as far as the topic handed its messages over; what is outstanding exists.
    pub channels: Vec<(Name, ChannelState)>,
}

/// Messages of a topic in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// Lowest sequence number.
    pub first: u64,
    /// Highest sequence number.
    pub last: u64,
    /// How many messages.
    pub count: u32,
    /// Where their records are.
    pub place: Place,
    /// Some of them have a delay.
    pub deferred: bool,
}

/// What recovery had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Good entries in them.
    pub entries: u64,
    /// Damaged stretches, in files and in the runs that were read.
    pub damaged: u64,
    /// Messages that a run should have, and no copy of it has.
    pub records_lost: u64,
    /// Messages that channels had out, and that are not there any more.
    pub outstanding_lost: u64,
    /// Messages that are there.
    pub messages: u64,
    /// Blocks written.
    pub blocks_written: u64,
    /// Why no more blocks were written.
    pub refused: Option<DiskError>,
    /// The first error when reading.
    pub read_error: Option<DiskError>,
}

/// Finds out what there is that is not finished. `progress` is told how many bytes were read, and
/// of how many.
pub fn recover<R: ReadAt, S: BlockSink>(
    metadata: &[TopicMetadata],
    files: &[LogFile<R>],
    sink: &mut S,
    progress: &mut dyn FnMut(u64, u64),
) -> Recovered {
    recover_kept(metadata, files, sink, None, progress)
}

/// The same with what is finished and kept; `keep` is how much that is where nobody said so.
pub fn recover_kept<R: ReadAt, S: BlockSink>(
    metadata: &[TopicMetadata],
    files: &[LogFile<R>],
    sink: &mut S,
    keep: Option<Keep>,
    progress: &mut dyn FnMut(u64, u64),
) -> Recovered {
    let mut report = Report::default();
    let of = files.iter().map(|file| file.bytes.length()).sum();
    let mut progress = Progress { tell: progress, done: 0, told: 0, of };
    let mut replay = replay_all(files, &mut report, &mut progress);
    let newest = replay.newest;

    let mut known: BTreeMap<Name, Option<&TopicMetadata>> = BTreeMap::new();
    let alive = replay.topics.iter().filter(|(_, log)| log.mention.is_alive(newest));
    known.extend(alive.map(|(name, _)| (*name, None)));
    known.extend(metadata.iter().map(|topic| (topic.name, Some(topic))));

    let heads = replay.topics.values().map(|log| log.head.max(log.floor));
    let floors = files.iter().map(|file| file.header.sequence_floor);
    let sequence_floor = heads.chain(floors).max().unwrap_or(0);

    let by_number = files.iter().map(|file| (file.header.number, file)).collect();
    let mut blocks =
        Blocks { files: by_number, sink, report: &mut report, progress: &mut progress };
    let mut topics = Vec::new();
    for (name, metadata) in known {
        let mut log = replay.topics.remove(&name).unwrap_or_default();
        let retention = metadata.map_or(Retention::default(), |topic| topic.policy.retention);
        log.keeps = keep.is_some_and(|default| retention.keep(&default, &name).is_set());
        topics.push(topic(name, metadata, log, newest, &mut blocks));
    }
    progress.end();
    Recovered { topics, sequence_floor, report }
}

/// Reads the entries of all files. Files of one start belong to different shards, or follow one
/// another in the order of their numbers.
fn replay_all<R: ReadAt>(
    files: &[LogFile<R>],
    report: &mut Report,
    progress: &mut Progress<'_>,
) -> Replay {
    let mut ordered: Vec<&LogFile<R>> = files.iter().collect();
    ordered.sort_by_key(|file| (file.header.generation, file.header.number));
    let mut replay = Replay::default();
    for file in ordered {
        report.files += 1;
        let start = progress.done;
        let mut scan = Scan::new(&file.bytes, &file.header);
        let mut last_run = None;
        for found in scan.by_ref() {
            match found {
                Found::Entry(entry) => {
                    last_run = None;
                    if let Entry::Run(run, place) = &entry {
                        last_run = Some((run.topic, *place));
                        progress.at(start + u64::from(place.offset));
                    }
                    report.entries += 1;
                    replay.apply(entry, &file.header);
                }
                Found::Damage { .. } => report.damaged += 1,
            }
        }
        replay.file_ends(last_run);
        if let (None, Some(error)) = (&report.read_error, scan.error()) {
            report.read_error = Some(error.clone());
        }
        progress.at(start + file.bytes.length());
    }
    replay
}

/// Everything about one topic, once all that was said of it is known.
fn topic<R: ReadAt, S: BlockSink>(
    name: Name,
    metadata: Option<&TopicMetadata>,
    mut log: TopicLog,
    newest: u64,
    blocks: &mut Blocks<'_, '_, R, S>,
) -> RecoveredTopic {
    let channels = living_channels(&mut log, metadata, newest);
    let mut state = TopicState { handed: log.handed, head: log.head };
    if channels.is_empty() {
        // What a last channel had went with it; what came later waits for the next.
        state.handed = Some(log.handed.unwrap_or(log.left_at).max(log.floor));
    }
    let ends = channels.values().map(ChannelLog::end).max().unwrap_or(0);
    // Nothing was delivered that was not handed over before.
    state.handed = state.handed.map(|handed| handed.max(ends));
    state.head = state.head.max(ends).max(state.handed.unwrap_or(0));

    let waits = |range: Range| state.handed.is_some_and(|handed| range.last >= handed);
    let wanted = |range: Range| {
        log.keeps || waits(range) || channels.values().any(|channel| channel.wants(range))
    };
    log.pieces.retain(|piece| wanted(piece.range()));
    let (segments, messages) = blocks.settle(name, log.pieces);
    blocks.report.messages += messages.exist.count();

    state.handed = state.handed.map(|handed| messages.exist.next(handed).unwrap_or(state.head));
    let limit = state.handed.unwrap_or(state.head);
    let mut settled = Vec::new();
    for (channel, log) in channels {
        let (state, lost) = channels::settle(log, &messages, limit);
        blocks.report.outstanding_lost += lost;
        settled.push((channel, state));
    }
    let holes = holes(&segments, &messages, state.head);
    let dues = messages.dues;
    RecoveredTopic { name, state, segments, holes, dues, channels: settled }
}

/// The channels that the metadata know, and those that only the journals know.
fn living_channels(
    log: &mut TopicLog,
    metadata: Option<&TopicMetadata>,
    newest: u64,
) -> BTreeMap<Name, ChannelLog> {
    let mut logs = core::mem::take(&mut log.channels);
    let known = metadata.map_or(&[][..], |topic| &topic.channels);
    let mut living: BTreeMap<Name, ChannelLog> = known
        .iter()
        .map(|channel| (channel.name, logs.remove(&channel.name).unwrap_or_default()))
        .collect();
    logs.retain(|_, channel| channel.mention.is_alive(newest));
    living.append(&mut logs);
    for channel in living.values_mut() {
        channel.base = channel.base.max(log.floor);
        channel.top = channel.top.max(channel.base);
    }
    living
}

fn holes(segments: &[StoredSegment], messages: &Messages, head: u64) -> Vec<Range> {
    let first = segments.first().map_or(head, |segment| segment.first);
    match head.checked_sub(1).filter(|&last| first <= last) {
        Some(last) => messages.exist.gaps(Range { first, last }).collect(),
        None => Vec::new(),
    }
}

/// Tells somebody who waits how far it is.
struct Progress<'a> {
    tell: &'a mut dyn FnMut(u64, u64),
    done: u64,
    told: u64,
    of: u64,
}

impl Progress<'_> {
    /// So much was read by now.
    fn at(&mut self, done: u64) {
        self.done = self.done.max(done);
        self.of = self.of.max(done);
        if self.done - self.told >= PROGRESS_BYTES {
            self.told = self.done;
            (self.tell)(self.done, self.of);
        }
    }

    /// Records were read again, which nobody knew before.
    fn rewritten(&mut self, bytes: u64) {
        self.of += bytes;
        self.at(self.done + bytes);
    }

    fn end(&mut self) {
        (self.tell)(self.of, self.of);
    }
}
