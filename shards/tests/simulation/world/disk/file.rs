//! One file: its bytes, and what a power cut would make of them; and what stands in segments.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use shards::journal::file::FileHeader;
use shards::log::record::{self, Checked, Salt};

use super::{Fact, Folder};
use crate::world::name;

pub const SECTOR_BYTES: usize = 512;
/// Where in a record without delay the body starts.
const BODY_OFFSET: usize = 8 + 34;
/// Where a record says what it is, and what it says of a message with a note.
const KIND_OFFSET: usize = 4;
const NOTED: u8 = 3;

/// A sector written since it was last synced.
#[derive(Clone)]
pub struct Dirty {
    pub before: Box<[u8; SECTOR_BYTES]>,
    /// When it was first written since then.
    pub since: u64,
    /// A sync failed: later ones do not make it last.
    pub stuck: bool,
}

/// One file.
#[derive(Clone)]
pub struct File {
    pub header: FileHeader,
    pub bytes: Vec<u8>,
    pub dirty: HashMap<usize, Dirty>,
    /// What was written since the last sync, and when.
    pub fresh: Vec<(u64, Fact)>,
    /// What a failed sync covered.
    pub stuck: Vec<Fact>,
    /// Bits that flipped: byte and mask.
    pub flips: Vec<(usize, u8)>,
    /// Where segments were written.
    pub segments: Vec<Range<usize>>,
    /// Everything fails.
    pub broken: bool,
}

impl File {
    pub fn new(header: FileHeader, bytes: Vec<u8>) -> File {
        let (dirty, fresh, stuck, flips) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        File { header, bytes, dirty, fresh, stuck, flips, segments: Vec::new(), broken: false }
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8], clock: u64, power_cuts: bool) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if power_cuts && !bytes.is_empty() {
            for sector in offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES {
                let from = sector * SECTOR_BYTES;
                let now = &self.bytes[from..self.bytes.len().min(from + SECTOR_BYTES)];
                let dirty = self.dirty.entry(sector).or_insert_with(|| {
                    let mut before = Box::new([0; SECTOR_BYTES]);
                    before[..now.len()].copy_from_slice(now);
                    Dirty { before, since: clock, stuck: false }
                });
                if dirty.stuck {
                    (dirty.stuck, dirty.since) = (false, clock);
                }
            }
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.flips.retain(|(at, _)| !(offset..end).contains(at));
    }
}

impl Folder {
    /// These are facts no more, and that is on the disk: when they come true again, they have to be
    /// written down anew.
    pub fn undo(&mut self, facts: &HashSet<Fact>) {
        self.kept.retain(|fact, _| !facts.contains(fact));
        for file in self.files.values_mut() {
            file.fresh.retain(|(_, fact)| !facts.contains(fact));
            file.stuck.retain(|fact| !facts.contains(fact));
        }
    }
}

/// Whether a piece of a batch is records, and not heads of entries.
pub fn is_records(slice: &[u8]) -> bool {
    record::claimed_bytes(slice).is_some()
}

/// The name in the head of a segment.
pub fn topic_of(segment: &[u8]) -> Option<&[u8]> {
    segment.get(32..)?.get(..usize::from(segment[5]))
}

/// Where in a segment as it is written the records start, and what follows.
pub fn records_of(segment: &[u8]) -> (usize, &[u8]) {
    let mut places = (0..segment.len()).step_by(8);
    let start = places.find(|&start| record::claimed_bytes(&segment[start..]).is_some());
    let start = start.unwrap_or(segment.len());
    (start, &segment[start..])
}

/// The good records of a run, whosever it is: one topic's checksums fit.
pub fn walk(run: &[u8]) -> Vec<(u32, Checked)> {
    let topics = (0..4).map(|n| format!("t{n}")).chain(["noise", "dead"].map(ToOwned::to_owned));
    let salts: Vec<Salt> = topics.map(|topic| Salt::of(&name(&topic))).collect();
    let walk = |salt: &Salt| record::walk(run, *salt).flatten().collect::<Vec<_>>();
    // Most often the first record is good.
    if let Some(salt) = salts.iter().find(|salt| record::check(run, **salt).is_some()) {
        return walk(salt);
    }
    salts.iter().map(walk).max_by_key(Vec::len).unwrap_or_default()
}

/// The good records of a run, and the numbers of the messages in them.
pub fn good_messages(run: &[u8]) -> impl Iterator<Item = (Range<usize>, u32)> {
    walk(run).into_iter().flat_map(|(offset, good)| {
        let start = offset as usize;
        let moved = move |(record, number): (Range<usize>, u32)| {
            (start + record.start..start + record.end, number)
        };
        messages(&run[start..start + good.bytes]).map(moved)
    })
}

/// The records of a run that is sound, and the numbers of the messages in them. Dead letters are
/// copies, and say nothing of where the message itself is.
pub fn messages(run: &[u8]) -> impl Iterator<Item = (Range<usize>, u32)> {
    numbers(run, false)
}

/// The numbers of the messages in a run, and of those that its dead letters were.
pub fn with_letters(run: &[u8]) -> impl Iterator<Item = u32> {
    numbers(run, false).chain(numbers(run, true)).map(|(_, number)| number)
}

fn numbers(run: &[u8], letters: bool) -> impl Iterator<Item = (Range<usize>, u32)> {
    record::walk_trusted(run).filter_map(move |(offset, found)| {
        let start = offset as usize;
        let record = &run[start..start + found.bytes];
        let before = match *record.get(KIND_OFFSET)? {
            NOTED => 12 + u32::from_le_bytes(*record.get(16..)?.first_chunk()?) as usize,
            _ if found.delay_ms > 0 => 8,
            _ => 0,
        };
        let body = record.get(BODY_OFFSET + before..)?;
        let number = u32::from_be_bytes(*body.first_chunk()?);
        (letters == (record[KIND_OFFSET] == NOTED)).then_some((start..start + found.bytes, number))
    })
}
