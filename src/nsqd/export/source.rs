//! A stopped broker's data path, read without a change in it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use shards::disk::{DiskError, Place};
use shards::journal::entry::Run;
use shards::journal::scan::ReadAt;
use shards::recover::{BlockSink, LogFile};

use crate::nsqd::disk::FileReader;
use crate::nsqd::takeover::disk::{create, failed};

/// Name of the file for what the recovery rewrites. It has it for a moment only.
const SCRATCH: &str = "export.tmp";
/// Bytes of the scratch file that one file number stands for.
const SCRATCH_PART_BYTES: u64 = 1 << 31;

/// Takes what the recovery rewrites: one file without a name, so that nothing is left of it.
///
/// A place has 32 bits for its offset, so the file counts as several, one behind the other.
pub struct Scratch {
    file: File,
    /// The number of its first part: higher than any log file's.
    first_number: u32,
    at: u64,
}

impl Scratch {
    /// A file in this directory, for a data path whose log files have lower numbers.
    ///
    /// # Errors
    /// What failed.
    pub fn new(directory: &Path, first_number: u32) -> Result<Scratch, String> {
        let path = directory.join(SCRATCH);
        let file = create(&path)?;
        fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        Ok(Scratch { file, first_number, at: 0 })
    }

    fn offset_of(&self, place: Place) -> Option<u64> {
        let part = place.file.checked_sub(self.first_number)?;
        Some(u64::from(part) * SCRATCH_PART_BYTES + u64::from(place.offset))
    }
}

impl BlockSink for Scratch {
    fn write(&mut self, run: &Run, records: &[u8]) -> Result<Place, DiskError> {
        assert_eq!(run.bytes as usize, records.len(), "a run says how long it is");
        let fits = self.at % SCRATCH_PART_BYTES + u64::from(run.bytes) <= SCRATCH_PART_BYTES;
        if !fits {
            self.at = self.at.next_multiple_of(SCRATCH_PART_BYTES);
        }
        let text = |error: std::io::Error| failed("write", SCRATCH.as_ref(), &error);
        let outcome = self.file.write_all_at(records, self.at);
        outcome.map_err(|error| DiskError { full: false, text: text(error) })?;
        let part = u32::try_from(self.at / SCRATCH_PART_BYTES).ok();
        let file = part.and_then(|part| self.first_number.checked_add(part));
        let file = file.ok_or_else(|| DiskError {
            full: false,
            text: "the numbers of files have run out".to_owned(),
        })?;
        let offset = (self.at % SCRATCH_PART_BYTES) as u32;
        self.at += u64::from(run.bytes);
        Ok(Place { file, offset, bytes: run.bytes })
    }
}

/// The bytes of a place, in a log file or in what the recovery has rewritten.
///
/// # Errors
/// What failed.
pub fn read(
    logs: &[LogFile<FileReader>],
    scratch: &Scratch,
    place: Place,
) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; place.bytes as usize];
    if let Some(offset) = scratch.offset_of(place) {
        let read = scratch.file.read_exact_at(&mut bytes, offset);
        return match read {
            Ok(()) => Ok(bytes),
            Err(error) => Err(failed("read", SCRATCH.as_ref(), &error)),
        };
    }
    let file = logs.iter().find(|file| file.header.number == place.file);
    let file = file.expect("the recovery speaks of the files that it was given");
    let offset = u64::from(place.offset);
    let read = file.bytes.read_at(offset, &mut bytes).map_err(|error| error.text)?;
    // A file may have lost its end; the records that it has are still good.
    bytes.truncate(read);
    Ok(bytes)
}
