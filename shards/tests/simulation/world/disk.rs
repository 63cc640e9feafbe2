//! A folder of files, and requests to it that are carried out late and in any order.
//!
//! The fault model: opening, writing, appending, syncing and reading may fail, once or from then
//! on for one file; there may be no space; an append that fails may have written some of it; a
//! failed sync leaves what it covered readable, but no later sync of that start makes it last
//! (nobody who comes later could know of it). Bits flip in stored segments, and a segment may be
//! written over others. A power cut undoes any of the 512-byte sectors written since the last sync.
//! It brings back files that were removed since the folder was last synced, which is when a file
//! was made. New files have lasting headers; a journal file used again has stale entries behind its
//! header.

mod file;
mod pace;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;

use shards::disk::{DiskError, DiskEvent, DiskRequest, Opened, Place, Role};
use shards::journal::file::{FILE_HEADER_BYTES, FileHeader};
use shards::page_buffer::PageBuffer;
use shards::recover::StoredSegment;
use shards::shard::Batch;

use super::Canary;
use super::random::Random;
use file::{Dirty, File, SECTOR_BYTES, good_messages, is_records, messages, records_of, topic_of};

/// Journal files that are kept to be used again.
const SPARE_FILES_MAX: usize = 2;

/// What the disk of a world is like.
#[derive(Clone, Debug, Default)]
pub struct DiskSettings {
    /// Of a thousand operations those that fail.
    pub errors: usize,
    /// Bytes of all files at first, or no bound; more space comes when some is short.
    pub space_bytes: Option<u64>,
    /// It never becomes more by itself.
    pub stays_full: bool,
    /// Of a thousand reads those before which a bit has flipped, and of a thousand writes of
    /// segments those that go to a wrong place in their file.
    pub rot: usize,
    /// Requests take long.
    pub slow: bool,
    /// So many bytes are written or read in a turn, in the order in which it was asked for them.
    pub pace_bytes: Option<usize>,
    /// It is remembered what a power cut would undo.
    pub power_cuts: bool,
    /// The one operation that fails; what is done to its file later fails as well, or not.
    pub fails_at: Option<(u64, bool)>,
    /// The last operation before everything stands still.
    pub stops_at: Option<u64>,
}

/// How well a message is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    #[default]
    Nowhere,
    Written,
    Synced,
}

/// Something that a client relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A message is there.
    Message(u32),
    /// A message is finished: topic, channel, message.
    Finish(usize, usize, u32),
    /// A channel was made: topic, channel.
    Channel(usize, usize),
}

/// What one shard has asked for.
#[derive(Default, Debug)]
pub struct Queue {
    /// Whose it is.
    worker: u16,
    /// Requests, and when they were made.
    pending: Vec<(u64, DiskRequest)>,
    done: VecDeque<DiskEvent>,
    /// What a disk with a pace has written or read of the next request.
    moved_bytes: usize,
}

impl Queue {
    pub fn new(worker: u16) -> Queue {
        Queue { worker, ..Queue::default() }
    }

    pub fn ask(&mut self, folder: &Folder, request: DiskRequest) {
        self.pending.push((folder.clock, request));
    }

    pub fn next_event(&mut self) -> Option<DiskEvent> {
        self.done.pop_front()
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.done.is_empty()
    }
}

/// See the module's text.
pub struct Folder {
    pub settings: DiskSettings,
    pub canary: Option<Canary>,
    pub files: BTreeMap<u32, File>,
    /// Messages that may be lost because of what the disk did.
    pub endangered: Vec<u32>,
    /// Appends, bytes in them, and faults so far.
    pub appends: u64,
    pub faults: u64,
    pub reads: u64,
    pub writes: u64,
    /// Appends and requests that were carried out, and whether there will be no more.
    pub operations: u64,
    pub stands_still: bool,
    /// There was no space for the last file that a shard asked for.
    pub is_short: bool,
    random: Random,
    /// Files without a name that are still open.
    released: HashMap<u32, File>,
    /// Files whose removal a power cut would undo.
    removed: Vec<(u32, File)>,
    spare: Vec<Vec<u8>>,
    generation: u64,
    next_number: u32,
    /// Counts operations.
    clock: u64,
    kept: HashMap<Fact, Kept>,
    /// The shards that have a hold on a file of an earlier start.
    shared: HashMap<u32, Vec<u16>>,
    journal_file_bytes: usize,
    canary_done: bool,
}

impl Folder {
    pub fn new(seed: u64, settings: DiskSettings, journal_file_bytes: u32) -> Folder {
        Folder {
            settings,
            canary: None,
            files: BTreeMap::new(),
            endangered: Vec::new(),
            appends: 0,
            faults: 0,
            reads: 0,
            writes: 0,
            operations: 0,
            stands_still: false,
            is_short: false,
            random: Random::new(seed ^ 0x5d15_c0de),
            released: HashMap::new(),
            removed: Vec::new(),
            spare: Vec::new(),
            generation: 1,
            next_number: 1,
            clock: 0,
            kept: HashMap::new(),
            shared: HashMap::new(),
            journal_file_bytes: journal_file_bytes as usize,
            canary_done: false,
        }
    }

    /// How well something is kept now.
    pub fn kept(&self, fact: Fact) -> Kept {
        self.kept.get(&fact).copied().unwrap_or_default()
    }

    /// These stood in the batch that was appended last, some as copies of what was there before.
    pub fn note(&mut self, file: u32, facts: impl Iterator<Item = Fact>) {
        let Some(file) = self.files.get_mut(&file) else { return };
        for fact in facts {
            let kept = self.kept.entry(fact).or_insert(Kept::Written);
            *kept = Kept::Written.max(*kept);
            file.fresh.push((self.clock, fact));
        }
    }

    /// How many files have segments.
    pub fn store_files(&self) -> usize {
        self.files.values().filter(|file| file.header.role == Role::Store).count()
    }

    /// Appends a batch to a journal file, within the turn.
    pub fn append(&mut self, batch: &Batch<'_>) -> Result<(), DiskError> {
        if !self.operate() {
            return Err(error("it stands still"));
        }
        self.appends += 1;
        let whole = batch.slices.concat();
        let fault = self.fault(batch.file).or_else(|| {
            let end = batch.offset as usize + whole.len();
            self.grow(batch.file, end).err()
        });
        if self.loses(batch) {
            return Ok(());
        }
        let length = match fault {
            Some(_) => self.random.below(whole.len()),
            None => whole.len(),
        };
        let Some(file) = self.files.get_mut(&batch.file) else {
            return Err(error("there is no such file"));
        };
        file.write(batch.offset as usize, &whole[..length], self.clock, self.settings.power_cuts);
        if let Some(error) = fault {
            return Err(error);
        }
        let runs = batch.slices.iter().filter(|slice| is_records(slice));
        // Noise may look like any number.
        let numbers = runs.flat_map(|run| messages(run)).map(|(_, number)| number);
        let facts: Vec<Fact> = numbers.map(Fact::Message).collect();
        self.note(batch.file, facts.into_iter());
        Ok(())
    }

    /// Whoever asked is gone: some of it is carried out all the same.
    pub fn drop_queue(&mut self, queue: Queue) {
        for (asked_at, request) in queue.pending {
            let is_write = matches!(request, DiskRequest::Write { .. });
            if is_write && self.random.chance(50) {
                self.carry_out(queue.worker, asked_at, request);
            }
        }
        self.released.clear();
    }

    /// The request that is carried out next: any one, but files go in the order in which they are
    /// released.
    fn pick(&mut self, queue: &Queue) -> usize {
        let is_release =
            |(_, request): &(u64, DiskRequest)| matches!(request, DiskRequest::Release(_));
        let pick = self.random.below(queue.pending.len());
        match is_release(&queue.pending[pick]) {
            true => queue.pending.iter().position(is_release).unwrap_or(pick),
            false => pick,
        }
    }

    /// Of what was not synced any sector may be undone.
    pub fn cut_power(&mut self) {
        let removed = std::mem::take(&mut self.removed);
        if self.random.chance(50) {
            self.files.extend(removed);
        }
        for file in self.files.values_mut() {
            let mut dirty: Vec<(usize, Dirty)> = file.dirty.drain().collect();
            dirty.sort_unstable_by_key(|(sector, _)| *sector);
            // Often all of it is lost, or all but a little.
            let percent = [0, 10, 50, 90, 100][self.random.below(5)];
            for (sector, dirty) in dirty {
                if self.random.chance(percent) {
                    let from = sector * SECTOR_BYTES;
                    let to = file.bytes.len().min(from + SECTOR_BYTES);
                    file.bytes[from..to].copy_from_slice(&dirty.before[..to - from]);
                }
            }
            file.fresh.clear();
        }
    }

    /// Another start of the broker.
    pub fn begin_generation(&mut self) {
        self.generation += 1;
        self.shared.clear();
        for file in self.files.values_mut() {
            // Nobody knows any more what is not synced; recovery reads what there is.
            file.fresh.clear();
            file.stuck.clear();
            file.dirty.values_mut().for_each(|dirty| dirty.stuck = false);
        }
    }

    /// Each of so many shards has a hold on all files.
    pub fn share(&mut self, shards: u16) {
        self.shared = self.files.keys().map(|&number| (number, (0..shards).collect())).collect();
    }

    /// Whether no shard has a hold on a file of an earlier start.
    pub fn old_files_are_gone(&self) -> bool {
        self.shared.values().all(Vec::is_empty)
    }

    /// Whether recovery is interrupted and run again.
    pub fn interrupts_recovery(&mut self) -> bool {
        self.random.chance(20)
    }

    /// Makes a file, whatever is in the way.
    pub fn make(&mut self, role: Role) -> u32 {
        self.removed.clear();
        let number = self.next_number;
        self.next_number += 1;
        let (generation, nonce) = (self.generation, self.random.next());
        let header = FileHeader { role, number, generation, shard: 0, nonce, sequence_floor: 0 };
        self.files.insert(number, File::new(header, header.encode().to_vec()));
        number
    }

    /// Whether an append is not made because of a canary.
    fn loses(&mut self, batch: &Batch<'_>) -> bool {
        let records = batch.slices.iter().any(|slice| is_records(slice));
        // Where in the head of an entry its kind is.
        let kind = batch.slices.first().map_or(0, |slice| slice[4]);
        match self.canary {
            Some(Canary::LoseAppend) if !self.canary_done && records => self.canary_done = true,
            Some(Canary::LoseFinishEntry) if !records && kind == 4 => {}
            Some(Canary::LoseSnapshot) if !records && kind == 3 => {}
            _ => return false,
        }
        true
    }

    /// Carries out some of the requests, or all of them.
    pub fn work(&mut self, queue: &mut Queue, all: bool) {
        if let Some(pace_bytes) = self.settings.pace_bytes.filter(|_| !all) {
            return self.keep_pace(queue, pace_bytes);
        }
        let percent = if self.settings.slow { 4 } else { 40 };
        while !queue.pending.is_empty() && (all || self.random.chance(percent)) {
            if !self.operate() {
                return;
            }
            let pick = self.pick(queue);
            let (asked_at, request) = queue.pending.remove(pick);
            queue.done.extend(self.carry_out(queue.worker, asked_at, request));
        }
    }

    /// Whether something is done now: it counts.
    fn operate(&mut self) -> bool {
        if self.stands_still {
            return false;
        }
        self.clock += 1;
        self.operations += 1;
        self.stands_still = self.settings.stops_at == Some(self.operations);
        true
    }

    fn carry_out(&mut self, worker: u16, asked_at: u64, request: DiskRequest) -> Option<DiskEvent> {
        Some(match request {
            DiskRequest::Open { role, floor } => DiskEvent::Opened(role, self.open(role, floor)),
            DiskRequest::Write { ticket, file, offset, content } => {
                let result = self.write(file, offset as usize, &content);
                DiskEvent::Written { ticket, content, result }
            }
            DiskRequest::Read { ticket, place } => {
                DiskEvent::Read { ticket, result: self.read(place) }
            }
            DiskRequest::Sync { ticket, file } => {
                DiskEvent::Synced { ticket, result: self.sync(file, asked_at) }
            }
            DiskRequest::Release(number) => {
                self.release(worker, number);
                return None;
            }
        })
    }

    fn open(&mut self, role: Role, floor: u64) -> Result<Opened, DiskError> {
        let fails = self.settings.fails_at.is_some_and(|(at, _)| at == self.operations);
        if fails || self.settings.errors > 0 && self.random.below(200) < self.settings.errors {
            self.faults += 1;
            return Err(error("opening failed"));
        }
        let mut bytes = match role {
            Role::Journal => self.spare.pop().unwrap_or_default(),
            Role::Store => Vec::new(),
        };
        let length = match role {
            Role::Journal => self.journal_file_bytes.max(bytes.len()),
            Role::Store => FILE_HEADER_BYTES,
        };
        let space = self.take_space(length as u64 - bytes.len() as u64);
        self.is_short = space.is_err();
        space?;
        bytes.resize(length, 0);
        self.removed.clear();
        let number = self.next_number;
        self.next_number += 1;
        let (generation, nonce) = (self.generation, self.random.next());
        let header =
            FileHeader { role, number, generation, shard: 0, nonce, sequence_floor: floor };
        bytes[..FILE_HEADER_BYTES].copy_from_slice(&header.encode()[..]);
        self.files.insert(number, File::new(header, bytes));
        Ok(Opened { number, nonce })
    }

    fn write(&mut self, number: u32, offset: usize, bytes: &[u8]) -> Result<(), DiskError> {
        self.writes += 1;
        let fault = self.fault(number);
        let fault = fault.or_else(|| self.grow(number, offset + bytes.len()).err());
        let mut length = bytes.len();
        if fault.is_some() {
            length = self.random.below(length);
        }
        let astray =
            self.settings.rot > 0 && fault.is_none() && self.random.below(1000) < self.settings.rot;
        let offset = if astray { self.lead_astray(number, offset, bytes) } else { offset };
        let (clock, power_cuts) = (self.clock, self.settings.power_cuts);
        let Some(file) = self.file(number) else { return Err(error("there is no such file")) };
        file.write(offset, &bytes[..length], clock, power_cuts);
        file.segments.push(offset..offset + length);
        fault.map_or(Ok(()), Err)
    }

    /// Where a write goes that goes to a wrong place. What is there is lost, and what is written.
    fn lead_astray(&mut self, number: u32, right: usize, bytes: &[u8]) -> usize {
        let to = (right.saturating_sub(FILE_HEADER_BYTES) / SECTOR_BYTES).max(1);
        let wrong = FILE_HEADER_BYTES + self.random.below(to) * SECTOR_BYTES;
        let Some(file) = self.files.get(&number) else { return right };
        let range = wrong..wrong + bytes.len();
        let hit = |start: usize, record: &Range<usize>| {
            start + record.start < range.end && range.start < start + record.end
        };
        // Records do not say whose they are: those of another topic might pass for its own.
        let overlaps =
            |written: &&Range<usize>| written.start < range.end && range.start < written.end;
        let mut foreign = file.segments.iter().filter(overlaps);
        if foreign.any(|written| topic_of(&file.bytes[written.clone()]) != topic_of(bytes)) {
            return right;
        }
        for written in &file.segments {
            let (start, run) = records_of(&file.bytes[written.clone()]);
            let start = written.start + start;
            let lost = good_messages(run).filter(|(record, _)| hit(start, record));
            self.endangered.extend(lost.map(|(_, number)| number));
        }
        self.endangered.extend(good_messages(records_of(bytes).1).map(|(_, number)| number));
        self.faults += 1;
        wrong
    }

    fn read(&mut self, place: Place) -> Result<PageBuffer, DiskError> {
        self.reads += 1;
        let fault = self.fault(place.file);
        let flips = self.random.below(1000) < self.settings.rot;
        let flip = self.random.below(place.bytes as usize * 8);
        let Some(file) = self.files.get_mut(&place.file).or(self.released.get_mut(&place.file))
        else {
            return Err(error("there is no such file"));
        };
        let range = place.offset as usize..(place.offset + place.bytes) as usize;
        if flips {
            let (at, mask) = (range.start + flip / 8, 1 << (flip % 8));
            file.bytes[at] ^= mask;
            file.flips.push((at, mask));
            self.faults += 1;
        }
        let flips = file.flips.iter().filter(|(at, _)| range.contains(at));
        let damaged: Vec<usize> = flips.clone().map(|(at, _)| at - range.start).collect();
        if fault.is_some() || !damaged.is_empty() {
            let mut sound = file.bytes[range.clone()].to_vec();
            flips.for_each(|(at, mask)| sound[at - range.start] ^= mask);
            let hit = |record: &Range<usize>| {
                fault.is_some() || damaged.iter().any(|at| record.contains(at))
            };
            let hit = good_messages(&sound).filter(|(record, _)| hit(record));
            self.endangered.extend(hit.map(|(_, number)| number));
        }
        fault.map_or(Ok(PageBuffer::new(file.bytes[range].to_vec(), 0)), Err)
    }

    fn sync(&mut self, number: u32, asked_at: u64) -> Result<(), DiskError> {
        let fault = self.fault(number);
        let lies = self.canary == Some(Canary::LieAboutSync);
        // It may cover what came after it was asked for, or not.
        let until = if self.random.chance(50) { self.clock } else { asked_at };
        let mut kept = std::mem::take(&mut self.kept);
        let Some(file) = self.file(number) else {
            self.kept = kept;
            return Ok(());
        };
        if fault.is_some() {
            file.stuck.extend(file.fresh.drain(..).map(|(_, fact)| fact));
            file.dirty.values_mut().for_each(|dirty| dirty.stuck = true);
        } else if !lies {
            for (_, fact) in file.fresh.extract_if(.., |(at, _)| *at <= until) {
                kept.insert(fact, Kept::Synced);
            }
            file.dirty.retain(|_, dirty| dirty.stuck || dirty.since > until);
        }
        self.kept = kept;
        fault.map_or(Ok(()), Err)
    }

    fn release(&mut self, worker: u16, number: u32) {
        if let Some(holders) = self.shared.get_mut(&number) {
            holders.retain(|&holder| holder != worker);
            if !holders.is_empty() {
                return;
            }
        }
        let Some(mut file) = self.files.remove(&number) else { return };
        if file.header.role == Role::Journal {
            // What it still held is in a store by now, or else a crash will show.
            let facts = file.fresh.drain(..).map(|(_, fact)| fact).chain(file.stuck.drain(..));
            self.kept.extend(facts.map(|fact| (fact, Kept::Synced)));
        }
        if file.header.role == Role::Journal && self.spare.len() < SPARE_FILES_MAX {
            self.removed.clear();
            return self.spare.push(std::mem::take(&mut file.bytes));
        }
        if self.settings.power_cuts {
            self.removed.push((number, file.clone()));
        }
        if file.header.role == Role::Store {
            self.released.insert(number, file);
        }
    }

    fn file(&mut self, number: u32) -> Option<&mut File> {
        self.files.get_mut(&number).or(self.released.get_mut(&number))
    }

    /// Whether something fails now.
    fn fault(&mut self, number: u32) -> Option<DiskError> {
        let errors = self.settings.errors;
        let (fails, for_ever) = match self.settings.fails_at {
            Some((at, for_ever)) => (at == self.operations, for_ever),
            None if errors == 0 => return None,
            None => (self.random.below(1000) < errors, self.random.chance(20)),
        };
        let file = self.file(number)?;
        file.broken |= fails && for_ever;
        if !(fails || file.broken) {
            return None;
        }
        self.faults += 1;
        Some(error("input/output error"))
    }

    /// Makes a file as long as this, if there is space.
    fn grow(&mut self, number: u32, length: usize) -> Result<(), DiskError> {
        let Some(file) = self.file(number) else { return Ok(()) };
        let more = length.saturating_sub(file.bytes.len());
        self.take_space(more as u64)?;
        if more > 0
            && let Some(file) = self.file(number)
        {
            file.bytes.resize(length, 0);
        }
        Ok(())
    }

    fn take_space(&mut self, bytes: u64) -> Result<(), DiskError> {
        let Some(space) = self.settings.space_bytes else { return Ok(()) };
        let lengths = self.files.values().map(|file| file.bytes.len() as u64);
        if bytes == 0 || lengths.sum::<u64>() + bytes <= space {
            return Ok(());
        }
        self.faults += 1;
        // Somebody notices sooner or later.
        if !self.settings.stays_full && self.random.chance(10) {
            self.settings.space_bytes = Some(space + space / 8);
        }
        Err(DiskError { full: true, text: "no space left on device".to_owned() })
    }

    /// The numbers of the messages in segments.
    pub fn messages<'a>(&self, segments: impl Iterator<Item = &'a StoredSegment>) -> HashSet<u32> {
        let mut found = HashSet::new();
        for StoredSegment { first, last, place, .. } in segments {
            let Some(file) = self.files.get(&place.file) else { continue };
            let run = &file.bytes[place.offset as usize..][..place.bytes as usize];
            let good = file::walk(run).into_iter();
            for (offset, checked) in
                good.filter(|(_, good)| (*first..=*last).contains(&good.sequence))
            {
                let record = &run[offset as usize..][..checked.bytes];
                found.extend(file::with_letters(record));
            }
        }
        found
    }

    /// Somebody has noticed that the disk is full.
    pub fn make_space(&mut self) {
        self.settings.space_bytes = self.settings.space_bytes.map(|bytes| bytes * 2);
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        self.settings.errors = 0;
        self.settings.fails_at = None;
        self.settings.rot = 0;
        self.settings.space_bytes = None;
        self.files.values_mut().for_each(|file| file.broken = false);
    }
}

fn error(text: &str) -> DiskError {
    DiskError { full: false, text: text.to_owned() }
}
