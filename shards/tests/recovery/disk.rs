//! Files in memory, and records to put into them.

use std::collections::BTreeMap;
use std::ops::Range;

use shards::disk::{DiskError, Place, Role};
use shards::id;
use shards::journal::entry::{At, Run, run_end, run_start, seal};
use shards::journal::file::FileHeader;
use shards::journal::scan::ReadAt;
use shards::log::record::{self, Salt};
use shards::recover::{BlockSink, LogFile};
use shards::wire::frame::message_header;
use shards::wire::names::Name;

pub fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

/// A message as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub sequence: u64,
    pub published_ms: u64,
    pub delay_ms: u64,
    pub body: Vec<u8>,
}

impl Message {
    pub fn record(&self, topic: Name) -> Vec<u8> {
        let nanoseconds = i64::try_from(self.published_ms * 1_000_000).unwrap();
        let length = u32::try_from(self.body.len()).unwrap();
        let header = message_header(length, nanoseconds, &id::encode(self.sequence, 7));
        let mut record = vec![0, 0, 0, 0, 1, 0, 0, 0];
        if self.delay_ms > 0 {
            record[4] = 2;
            record.extend_from_slice(&self.delay_ms.to_le_bytes());
        }
        record.extend_from_slice(&header);
        record.extend_from_slice(&self.body);
        record::seal(&mut record, Salt::of(&topic));
        record
    }

    pub fn due_ms(&self) -> u64 {
        if self.delay_ms > 0 { self.published_ms + self.delay_ms } else { 0 }
    }
}

#[derive(Clone, Debug)]
pub struct File {
    pub header: FileHeader,
    pub bytes: Vec<u8>,
    /// Where the disk gives an error.
    pub bad: Range<u64>,
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let from = (offset as usize).min(self.bytes.len());
        let length = into.len().min(self.bytes.len() - from);
        if offset < self.bad.end && offset + length as u64 > self.bad.start {
            return Err(DiskError { full: false, text: "bad sector".into() });
        }
        into[..length].copy_from_slice(&self.bytes[from..][..length]);
        Ok(length)
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A folder of files.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub files: BTreeMap<u32, File>,
    pub generation: u64,
    pub next: u32,
}

impl Disk {
    pub fn open(&mut self, role: Role, shard: u16, sequence_floor: u64) -> u32 {
        self.next += 1;
        let nonce = u64::from(self.next).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (number, generation) = (self.next, self.generation);
        let header = FileHeader { role, number, generation, shard, nonce, sequence_floor };
        let bytes = header.encode().to_vec();
        self.files.insert(number, File { header, bytes, bad: 0..0 });
        number
    }

    /// Appends entries of state.
    pub fn append(&mut self, file: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let file = self.files.get_mut(&file).unwrap();
        let at = At { nonce: file.header.nonce, offset: file.bytes.len() as u64 };
        write(&mut file.bytes);
        seal(&mut file.bytes[at.offset as usize..], at);
    }

    pub fn append_run(&mut self, file: u32, topic: Name, messages: &[&Message]) -> Place {
        let records: Vec<u8> = messages.iter().flat_map(|message| message.record(topic)).collect();
        let run = Run {
            topic,
            count: messages.len() as u32,
            first: messages[0].sequence,
            last: messages[messages.len() - 1].sequence,
            bytes: records.len() as u32,
            deferred: messages.iter().any(|message| message.delay_ms > 0),
        };
        self.put(file, &run, &records)
    }

    /// Appends a run with these records.
    pub fn put(&mut self, file: u32, run: &Run, records: &[u8]) -> Place {
        let File { header, bytes, .. } = self.files.get_mut(&file).unwrap();
        let at = At { nonce: header.nonce, offset: bytes.len() as u64 };
        run_start(bytes, at, run);
        let offset = bytes.len() as u32;
        bytes.extend_from_slice(records);
        run_end(bytes, at, run);
        Place { file, offset, bytes: run.bytes }
    }

    pub fn log_files(&self) -> Vec<LogFile<File>> {
        let files = self.files.values();
        files.map(|file| LogFile { header: file.header, bytes: file.clone() }).collect()
    }

    pub fn read(&self, place: Place) -> &[u8] {
        &self.files[&place.file].bytes[place.offset as usize..][..place.bytes as usize]
    }
}

/// Writes blocks into one new store, until it refuses.
pub struct Sink<'a> {
    pub disk: &'a mut Disk,
    pub file: Option<u32>,
    /// How many blocks it still takes.
    pub room: usize,
}

impl<'a> Sink<'a> {
    pub fn new(disk: &'a mut Disk, room: usize) -> Sink<'a> {
        Sink { disk, file: None, room }
    }
}

impl BlockSink for Sink<'_> {
    fn write(&mut self, run: &Run, records: &[u8]) -> Result<Place, DiskError> {
        assert_eq!(run.bytes as usize, records.len());
        let Some(room) = self.room.checked_sub(1) else {
            return Err(DiskError { full: true, text: "no space left".into() });
        };
        self.room = room;
        let file = *self.file.get_or_insert_with(|| self.disk.open(Role::Store, 0, 0));
        Ok(self.disk.put(file, run, records))
    }
}
