//! Writes messages and states into log files of ours, under names that nobody reads yet.
//!
//! The files get their own names when the takeover is committed. Messages go into store files in
//! blocks of up to a mebibyte, states into one journal file with the highest number.

use std::fs::File;
use std::path::{Path, PathBuf};

use shards::disk::Role;
use shards::id;
use shards::journal::entry::{self, At, Run};
use shards::journal::file::{FILE_HEADER_BYTES, FileHeader};
use shards::journal::state::{ChannelState, TopicState};
use shards::log::Message;
use shards::log::record::{self, Salt};
use shards::nsq_format;
use shards::wire::frame::message_header;
use shards::wire::names::Name;

use super::disk::{create, sync, write_at};
use super::{UNFINISHED, log_file};

/// A block is full at this size, unless it is one message: the largest size class of segments.
const BLOCK_BYTES: usize = 1 << 20;
/// States are written when so many bytes have gathered.
const STATES_BYTES: usize = 1 << 20;
/// Offsets in a file have 32 bits.
const FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// What the files have in common.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where they are made.
    pub directory: PathBuf,
    /// Number of the first.
    pub number: u32,
    /// The start that they are said to be of.
    pub generation: u64,
    /// A store file is full at this size.
    pub file_bytes_max: u64,
    /// Of this broker, for the ids.
    pub node_id: u64,
    /// Every sequence number given so far is lower.
    pub sequence_floor: u64,
}

/// A log file as it is called now, and as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenFile {
    /// Now.
    pub unfinished: String,
    /// Once the takeover is committed.
    pub finished: String,
}

/// The files in the making.
pub struct LogWriter {
    origin: Origin,
    /// The next file's number.
    number: u32,
    store: Option<OpenFile>,
    journal: OpenFile,
    states: Vec<u8>,
    /// Records of the topic at hand that are not written yet.
    block: Vec<u8>,
    run: Option<Run>,
    /// Highest sequence number so far, and one more.
    sequence_floor: u64,
    written: Vec<WrittenFile>,
}

struct OpenFile {
    file: File,
    path: PathBuf,
    nonce: u64,
    /// Where the next entry goes.
    at: u64,
}

impl LogWriter {
    /// Creates the journal file.
    pub fn new(origin: Origin) -> Result<LogWriter, String> {
        let journal = OpenFile::create(&origin.directory.join(journal_name()))?;
        Ok(LogWriter {
            number: origin.number,
            sequence_floor: origin.sequence_floor,
            origin,
            store: None,
            journal,
            states: Vec::new(),
            block: Vec::new(),
            run: None,
            written: Vec::new(),
        })
    }

    /// Writes a message of a topic; its sequence number is higher than those before.
    pub fn message(
        &mut self,
        topic: Name,
        sequence: u64,
        delay_ms: u64,
        message: &nsq_format::Message<'_>,
    ) -> Result<(), String> {
        let record_bytes = message.body.len() + RECORD_OVERHEAD_MAX;
        let full = self.block.len() + record_bytes > BLOCK_BYTES;
        if self.run.is_some_and(|run| run.topic != topic || full) {
            self.end_block()?;
        }
        let body_bytes = u32::try_from(message.body.len()).expect("the reader bounds bodies");
        let id = id::encode(sequence, self.origin.node_id);
        let header = message_header(body_bytes, message.timestamp_ns, &id);
        let record = Message { header: &header, body: message.body, delay_ms, note: b"" };
        record::append(&mut self.block, &record, Salt::of(&topic));
        let bytes = u32::try_from(self.block.len()).expect("a block is far below 4 GiB");
        let (first, last) = (sequence, sequence);
        let new = Run { topic, count: 0, first, last, bytes, deferred: false };
        let Run { first, count, deferred, .. } = self.run.unwrap_or(new);
        let (count, deferred) = (count + 1, deferred || delay_ms > 0);
        self.run = Some(Run { topic, count, first, last, bytes, deferred });
        self.sequence_floor = self.sequence_floor.max(sequence + 1);
        Ok(())
    }

    /// Writes the block that is being filled.
    fn end_block(&mut self) -> Result<(), String> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let bytes = (self.block.len() + entry::run_overhead_max()) as u64;
        let full = |store: &OpenFile| {
            let end = store.at + bytes;
            let is_empty = store.at == FILE_HEADER_BYTES as u64;
            end > FILE_BYTES_MAX || end > self.origin.file_bytes_max && !is_empty
        };
        if self.store.as_ref().is_some_and(full) {
            self.end_store()?;
        }
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.start_store()?,
        };
        let start = At { nonce: store.nonce, offset: store.at };
        let mut head = Vec::new();
        entry::run_start(&mut head, start, &run);
        store.append(&head)?;
        store.append(&self.block)?;
        let mut tail = Vec::new();
        entry::run_end(&mut tail, start, &run);
        store.append(&tail)?;
        self.store = Some(store);
        self.block.clear();
        self.block.shrink_to(2 * BLOCK_BYTES);
        Ok(())
    }

    fn start_store(&mut self) -> Result<OpenFile, String> {
        let number = self.take_number()?;
        let finished = log_file(Role::Store, number);
        let unfinished = format!("{UNFINISHED}{finished}");
        let store = OpenFile::create(&self.origin.directory.join(&unfinished))?;
        store.write_header(self.header(Role::Store, number, store.nonce))?;
        self.written.push(WrittenFile { unfinished, finished });
        Ok(store)
    }

    fn end_store(&mut self) -> Result<(), String> {
        match self.store.take() {
            Some(store) => sync(&store.file, &store.path),
            None => Ok(()),
        }
    }

    /// Writes the state of a topic and of all its channels.
    pub fn state(
        &mut self,
        topic: &Name,
        state: &TopicState,
        channels: &[(Name, ChannelState)],
    ) -> Result<(), String> {
        for (channel, state) in channels {
            entry::channel(&mut self.states, topic, channel, state);
        }
        entry::topic(&mut self.states, topic, state);
        self.sequence_floor = self.sequence_floor.max(state.head);
        if self.states.len() >= STATES_BYTES { self.write_states() } else { Ok(()) }
    }

    fn write_states(&mut self) -> Result<(), String> {
        let at = At { nonce: self.journal.nonce, offset: self.journal.at };
        entry::seal(&mut self.states, at);
        self.journal.append(&self.states)?;
        self.states.clear();
        self.states.shrink_to(2 * STATES_BYTES);
        Ok(())
    }

    /// Writes what is left and waits until everything is on the disk. The answer is what there
    /// is to be renamed.
    pub fn finish(mut self) -> Result<Vec<WrittenFile>, String> {
        self.end_block()?;
        self.end_store()?;
        self.write_states()?;
        let number = self.take_number()?;
        self.journal.write_header(self.header(Role::Journal, number, self.journal.nonce))?;
        sync(&self.journal.file, &self.journal.path)?;
        let finished = log_file(Role::Journal, number);
        self.written.push(WrittenFile { unfinished: journal_name(), finished });
        Ok(self.written)
    }

    fn header(&self, role: Role, number: u32, nonce: u64) -> FileHeader {
        FileHeader {
            role,
            number,
            generation: self.origin.generation,
            shard: 0,
            nonce,
            sequence_floor: self.sequence_floor,
        }
    }

    fn take_number(&mut self) -> Result<u32, String> {
        let number = self.number;
        self.number = number.checked_add(1).ok_or("the numbers of log files are used up")?;
        Ok(number)
    }
}

/// Bytes of a record besides its body, and a few more.
const RECORD_OVERHEAD_MAX: usize = 64;

/// The journal's name while it is written: its number is not known then.
fn journal_name() -> String {
    format!("{UNFINISHED}journal")
}

impl OpenFile {
    /// A new file. The header is written in the end, or by the caller.
    fn create(path: &Path) -> Result<OpenFile, String> {
        let nonce = getrandom::u64().map_err(|error| format!("no random numbers: {error}"))?;
        let at = FILE_HEADER_BYTES as u64;
        Ok(OpenFile { file: create(path)?, path: path.to_owned(), nonce, at })
    }

    fn write_header(&self, header: FileHeader) -> Result<(), String> {
        self.write(header.encode().as_slice(), 0)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.write(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), String> {
        write_at(&self.file, &self.path, bytes, at)
    }
}
