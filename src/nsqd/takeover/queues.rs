//! Which of the original's queues a data path holds, and their messages one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use shards::nsq_format::{self, Found, Message, Meta, Part, Position, Queue};

use super::disk::failed;

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// The original's files in a data path.
#[derive(Debug, Default)]
pub struct Queues {
    /// Queues that outlive a restart, by name.
    pub lasting: BTreeMap<Queue, QueueFiles>,
    /// Every file that is to be put aside, ephemeral queues' and unfinished ones included.
    pub files: Vec<OriginalFile>,
    /// What the operator should hear about, one line each.
    pub warnings: Vec<String>,
}

/// A file of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalFile {
    /// Its name in the data path.
    pub name: String,
    /// Its length when it was found.
    pub bytes: u64,
}

/// A queue's messages: where they start, and the files that hold them.
#[derive(Debug, Default)]
pub struct QueueFiles {
    /// The first message that was not read, as far as the original wrote that down.
    pub start: Position,
    /// Data files from there on.
    pub data: Vec<DataFile>,
}

/// A data file.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// The number in its name.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its length when it was found.
    pub bytes: u64,
}

impl QueueFiles {
    /// Bytes that are still to be read.
    pub fn bytes(&self) -> u64 {
        self.data.iter().map(|file| file.bytes.saturating_sub(self.offset_in(file))).sum()
    }

    /// Where reading starts in a file.
    fn offset_in(&self, file: &DataFile) -> u64 {
        if file.number == self.start.file { self.start.offset } else { 0 }
    }
}

/// Looks for queues in a data path.
///
/// # Errors
/// What cannot be read, and why.
pub fn find(directory: &Path) -> Result<Queues, String> {
    let mut found = Queues::default();
    let mut metas = BTreeMap::new();
    let mut ephemeral = 0;
    let entries = fs::read_dir(directory).map_err(|error| failed("open", directory, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", directory, &error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((queue, part)) = Queue::of_file(&name) else { continue };
        let path = entry.path();
        let metadata = entry.metadata().map_err(|error| failed("stat", &path, &error))?;
        if !metadata.is_file() || matches!(part, Part::Bad(_)) {
            continue;
        }
        found.files.push(OriginalFile { name, bytes: metadata.len() });
        if queue.is_ephemeral() {
            ephemeral += u64::from(matches!(part, Part::Data(_)));
            continue;
        }
        match part {
            Part::Data(number) => {
                let file = DataFile { number, path, bytes: metadata.len() };
                found.lasting.entry(queue).or_default().data.push(file);
            }
            Part::Meta => {
                let bytes = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
                metas.insert(queue, Meta::parse(&bytes));
                found.lasting.entry(queue).or_default();
            }
            Part::MetaUnfinished | Part::Bad(_) => {}
        }
    }
    found.files.sort_by(|one, other| one.name.cmp(&other.name));
    if ephemeral > 0 {
        found.warnings.push(format!(
            "{ephemeral} data files belong to #ephemeral topics or channels: their messages are \
             not taken over"
        ));
    }
    found.settle(&metas);
    Ok(found)
}

impl Queues {
    /// Works out from the meta files where each queue starts.
    fn settle(&mut self, metas: &BTreeMap<Queue, Option<Meta>>) {
        for (queue, files) in &mut self.lasting {
            files.data.sort_by_key(|file| file.number);
            let Some(meta) = metas.get(queue).copied().flatten() else {
                let first = files.data.first().map_or(0, |file| file.number);
                files.start = Position { file: first, offset: 0 };
                let problem =
                    if metas.contains_key(queue) { "makes no sense" } else { "is missing" };
                self.warnings.push(format!(
                    "{} {problem}: the queue is read from its first file on, so messages may come \
                     that were finished before",
                    queue.meta_file()
                ));
                continue;
            };
            files.start = meta.start();
            // What lies in front was read, and only not removed yet.
            files.data.retain(|file| file.number >= meta.start().file);
            self.warnings.extend(missing(queue, &meta, files));
        }
    }
}

/// Files that the meta file speaks of and that are not there.
fn missing(queue: &Queue, meta: &Meta, files: &QueueFiles) -> Option<String> {
    let there = |number: u64| files.data.iter().any(|file| file.number == number);
    // A file without a byte to read may be gone: it is removed before that is written down.
    let expected = meta.start().file..meta.write.file;
    let mut gone = 0;
    let mut example = None;
    let last = (meta.write > meta.start() && meta.write.offset > 0).then_some(meta.write.file);
    // A meta file may claim any number of files: only as many are looked for as there could be.
    let looked_for = expected.take(files.data.len() + 1).chain(last);
    for number in looked_for.filter(|&number| !there(number)) {
        gone += 1;
        example.get_or_insert(number);
    }
    let name = queue.data_file(example?);
    Some(match gone {
        1 => format!("{name} is missing"),
        _ => format!("{name} and other data files of the queue are missing"),
    })
}

/// Bytes of a file that were skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Where sense ended.
    pub offset: u64,
    /// Bytes from there to the end of the file.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// Reads a queue's messages, file by file.
#[derive(Debug)]
pub struct QueueReader {
    files: VecDeque<DataFile>,
    start: Position,
    body_bytes_max: usize,
    current: Option<Current>,
    /// What could not be read so far.
    pub skipped: Vec<Skipped>,
}

/// The file that is being read.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    /// Its length now.
    end: u64,
    /// Where in the file the next record is.
    at: u64,
    buffer: Vec<u8>,
    /// Where in the buffer that is.
    from: usize,
}

/// What comes next in the current file.
enum Next {
    /// A message whose record has so many bytes.
    Message(usize),
    /// The file ends.
    End,
    /// The rest makes no sense.
    Damage(String),
}

impl QueueReader {
    /// Starts where the queue's files start.
    pub fn new(queue: &QueueFiles, body_bytes_max: usize) -> QueueReader {
        QueueReader {
            files: queue.data.iter().cloned().collect(),
            start: queue.start,
            body_bytes_max,
            current: None,
            skipped: Vec::new(),
        }
    }

    /// The next message; `None` behind the last.
    ///
    /// # Errors
    /// A file that cannot be opened. What is damaged or cannot be read is skipped.
    pub fn next(&mut self) -> Result<Option<Message<'_>>, String> {
        let Some(bytes) = self.advance()? else { return Ok(None) };
        let Some(current) = &self.current else { return Ok(None) };
        let record = &current.buffer[current.from - bytes..current.from];
        match nsq_format::read(record, bytes as u64, self.body_bytes_max) {
            Found::Message(message, _) => Ok(Some(message)),
            other => unreachable!("a record that was read is a message: {other:?}"),
        }
    }

    /// Goes behind the next message, and says how many bytes its record has.
    fn advance(&mut self) -> Result<Option<usize>, String> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(current) = &mut self.current else { return Ok(None) };
            match current.next(self.body_bytes_max) {
                Next::Message(bytes) => {
                    current.from += bytes;
                    current.at += bytes as u64;
                    return Ok(Some(bytes));
                }
                Next::End => self.current = None,
                Next::Damage(reason) => {
                    let (path, offset) = (current.path.clone(), current.at);
                    let bytes = current.end.saturating_sub(offset);
                    self.skipped.push(Skipped { path, offset, bytes, reason });
                    self.current = None;
                }
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, String> {
        let Some(DataFile { number, path, .. }) = self.files.pop_front() else { return Ok(false) };
        let file = File::open(&path).map_err(|error| failed("open", &path, &error))?;
        let end = file.metadata().map_err(|error| failed("stat", &path, &error))?.len();
        let at = if number == self.start.file { self.start.offset } else { 0 };
        self.current = Some(Current { file, path, end, at, buffer: Vec::new(), from: 0 });
        Ok(true)
    }
}

impl Current {
    fn next(&mut self, body_bytes_max: usize) -> Next {
        if self.at > self.end {
            return Next::Damage(format!("the file has only {} bytes", self.end));
        }
        let rest = self.end - self.at;
        loop {
            match nsq_format::read(&self.buffer[self.from..], rest, body_bytes_max) {
                Found::Message(_, bytes) => return Next::Message(bytes),
                Found::End => return Next::End,
                Found::Damage(damage) => return Next::Damage(damage.to_string()),
                Found::More(needed) => {
                    if let Err(error) = self.fill(needed, rest) {
                        return Next::Damage(format!("it cannot be read: {error}"));
                    }
                }
            }
        }
    }

    /// Has at least `needed` of the file's last `rest` bytes in the buffer.
    fn fill(&mut self, needed: usize, rest: u64) -> io::Result<()> {
        self.buffer.drain(..self.from);
        self.from = 0;
        let have = self.buffer.len();
        let wanted = needed.max(READ_BYTES.min(usize::try_from(rest).unwrap_or(READ_BYTES)));
        self.buffer.resize(wanted, 0);
        let read = self.file.read_exact_at(&mut self.buffer[have..], self.at + have as u64);
        if read.is_err() {
            self.buffer.truncate(have);
        }
        // A large message is the exception: its room is not kept.
        self.buffer.shrink_to(wanted.max(2 * READ_BYTES));
        read
    }
}
