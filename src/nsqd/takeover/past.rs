//! What lies in the log directory already: this data path was ours before, perhaps.
//!
//! Nothing is changed here. Files that make no sense are left out; the recovery deals with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use shards::disk::Place;
use shards::disk::{DiskError, Role};
use shards::journal::entry::Run;
use shards::journal::file::{FILE_HEADER_BYTES, FileHeader};
use shards::recover::{self, BlockSink, LogFile, Recovered, RecoveredTopic};
use shards::wire::names::Name;

use super::disk::failed;
use super::log_file;
use super::topic::Existing;
use crate::nsqd::disk::FileReader;
use crate::nsqd::metadata::Topics;

/// Digits of a number in a file's name.
const DIGITS: usize = 10;

/// What an earlier time has left.
#[derive(Debug)]
pub struct Past {
    /// Topics with messages or channels.
    pub topics: BTreeMap<Name, Existing>,
    /// No file has this number or a higher one.
    pub next_number: u32,
    /// The last start of ours; 1 when there was none.
    pub generation: u64,
    /// Every sequence number given so far is lower.
    pub sequence_floor: u64,
}

/// The log files of a directory.
#[derive(Debug, Default)]
pub struct LogFiles {
    /// Those with a good header, in the order in which they are to be read.
    pub files: Vec<LogFile<FileReader>>,
    /// The highest number in any name.
    pub number_max: u32,
}

/// Opens all log files of a directory; without a directory there are none.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn log_files(directory: &Path) -> Result<LogFiles, String> {
    let mut found = LogFiles::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(failed("open", directory, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", directory, &error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(number) = number(&name) else { continue };
        found.number_max = found.number_max.max(number);
        let role = [Role::Journal, Role::Store].into_iter();
        let Some(role) = role.into_iter().find(|&role| log_file(role, number) == name) else {
            continue;
        };
        let path = entry.path();
        let mut file = File::open(&path).map_err(|error| failed("open", &path, &error))?;
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES);
        let bytes = file.metadata().map_err(|error| failed("stat", &path, &error))?.len();
        let read = file.by_ref().take(FILE_HEADER_BYTES as u64).read_to_end(&mut header);
        read.map_err(|error| failed("read", &path, &error))?;
        let Ok(header) = FileHeader::decode(&header) else { continue };
        if (header.role, header.number) == (role, number) {
            found.files.push(LogFile { header, bytes: FileReader::new(file, name, bytes) });
        }
    }
    found.files.sort_by_key(|file| (file.header.generation, file.header.number));
    Ok(found)
}

/// The number that a name starts with, whatever else it says.
fn number(name: &str) -> Option<u32> {
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && rest.starts_with('.') { digits.parse().ok() } else { None }
}

/// What an earlier time has left in this directory. The topics are those of `topics`, the
/// metadata, and of the files.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn read(directory: &Path, topics: &Topics) -> Result<Past, String> {
    let found = log_files(directory)?;
    let next_number = found.number_max.checked_add(1);
    let next_number = next_number.ok_or("the numbers of log files are used up")?;
    let headers = || found.files.iter().map(|file| &file.header);
    let recovered = recover(topics, &found.files, &mut Nowhere, |_, _| ());
    let known = recovered.topics.into_iter().filter(|topic| topic.state.head > 0);
    let existing = |topic: RecoveredTopic| {
        (topic.name, Existing { state: topic.state, channels: topic.channels })
    };
    Ok(Past {
        topics: known.map(existing).collect(),
        next_number,
        generation: headers().map(|header| header.generation).max().unwrap_or(1),
        sequence_floor: recovered.sequence_floor,
    })
}

/// Recovers what is in log files, without a change in them: what is rewritten goes to the sink.
/// `progress` is told how many bytes were read, and of how many.
pub fn recover(
    topics: &Topics,
    files: &[LogFile<FileReader>],
    sink: &mut impl BlockSink,
    mut progress: impl FnMut(u64, u64),
) -> Recovered {
    let metadata: Vec<_> = topics.values().cloned().collect();
    recover::recover(&metadata, files, sink, &mut progress)
}

/// Takes nothing, so that everything stays where it is: only states are wanted.
struct Nowhere;

impl BlockSink for Nowhere {
    fn write(&mut self, _: &Run, _: &[u8]) -> Result<Place, DiskError> {
        Err(DiskError { full: false, text: "nothing is to be written".to_owned() })
    }
}
