//! Where recovery puts what it rewrites: store files, written at the start of the process, before
//! there is any shard.

use std::fs::File;
use std::sync::Arc;

use shards::disk::{DiskError, Place, Role};
use shards::journal::entry::{At, Run, run_end, run_overhead_max, run_start};
use shards::journal::file::FILE_HEADER_BYTES;

use super::append::append;
use super::errors::failed;
use super::folder::Folder;
use super::make;
use super::names;

/// Writes blocks to new store files. What was written counts once it is finished: when this is
/// dropped before, the files are removed.
#[derive(Debug)]
pub struct BlockWriter {
    folder: Arc<Folder>,
    /// A file that has as many bytes gets no more.
    file_bytes_max: u64,
    current: Option<Current>,
    /// Files that took no more after an error; what is in front of that counts.
    unsynced: Vec<Current>,
    /// All files, the current one among them.
    numbers: Vec<u32>,
    /// What stands in front of and behind a block's records.
    start: Vec<u8>,
    end: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    file: File,
    number: u32,
    nonce: u64,
    /// Where the next block goes.
    at: u64,
}

impl BlockWriter {
    /// A writer that makes files when there is something to put into them, each of at most this
    /// many bytes, unless a single block has more.
    pub fn new(folder: Arc<Folder>, file_bytes_max: u64) -> BlockWriter {
        BlockWriter {
            folder,
            // Places count in 32 bits.
            file_bytes_max: file_bytes_max.min(u64::from(u32::MAX)),
            current: None,
            unsynced: Vec::new(),
            numbers: Vec::new(),
            start: Vec::new(),
            end: Vec::new(),
        }
    }

    /// Writes a block, and returns where its records are.
    ///
    /// # Errors
    /// What the disk said. The file that it was to go to is not used any further.
    pub fn write(&mut self, run: &Run, records: &[u8]) -> Result<Place, DiskError> {
        assert_eq!(run.bytes as usize, records.len(), "a run says how many bytes it has");
        let mut current = match self.current.take() {
            Some(current) if self.has_room(&current, records) => current,
            full => self.next_file(full)?,
        };
        // A file starts with a block however large, and otherwise has room for it.
        assert!(current.at <= u64::from(u32::MAX) - run_overhead_max() as u64, "a place is lost");
        self.start.clear();
        self.end.clear();
        let at = current.at;
        let start = At { nonce: current.nonce, offset: at };
        run_start(&mut self.start, start, run);
        run_end(&mut self.end, start, run);
        let pieces = [self.start.as_slice(), records, &self.end];
        match append(&current.file, at, pieces) {
            Ok(written) => {
                let offset = at as u32 + self.start.len() as u32;
                let place = Place { file: current.number, offset, bytes: run.bytes };
                current.at += written;
                self.current = Some(current);
                Ok(place)
            }
            Err(error) => {
                let name = names::of_file(current.number, Role::Store);
                self.unsynced.push(current);
                Err(failed("write", &name, &error))
            }
        }
    }

    /// Syncs everything, and returns the numbers of the files that were made.
    ///
    /// # Errors
    /// What the disk said; the files are removed then.
    pub fn finish(mut self) -> Result<Vec<u32>, DiskError> {
        self.unsynced.iter().chain(&self.current).try_for_each(sync)?;
        Ok(std::mem::take(&mut self.numbers))
    }

    fn has_room(&self, current: &Current, records: &[u8]) -> bool {
        let bytes = records.len() + run_overhead_max();
        current.at + bytes as u64 <= self.file_bytes_max
    }

    fn next_file(&mut self, full: Option<Current>) -> Result<Current, DiskError> {
        if let Some(full) = full {
            sync(&full)?;
        }
        let header = make::header(&self.folder, Role::Store, 0)?;
        let file = make::make(&self.folder, &header, false)?;
        self.numbers.push(header.number);
        let (number, nonce) = (header.number, header.nonce);
        Ok(Current { file, number, nonce, at: FILE_HEADER_BYTES as u64 })
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        for &number in &self.numbers {
            if let Err(error) = self.folder.remove(&names::of_file(number, Role::Store)) {
                tracing::warn!("disk: {}", error.text);
            }
        }
    }
}

fn sync(full: &Current) -> Result<(), DiskError> {
    let name = names::of_file(full.number, Role::Store);
    full.file.sync_data().map_err(|error| failed("sync", &name, &error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shards::journal::scan::{Entry, Found, Scan};
    use shards::wire::names::Name;

    use super::super::listing;
    use super::*;

    fn run(first: u64, count: u32, bytes: u32) -> Run {
        let topic = Name::parse(b"orders").unwrap();
        Run { topic, count, first, last: first + u64::from(count) - 1, bytes, deferred: false }
    }

    #[test]
    fn blocks_are_found_where_they_were_said_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        let mut writer = BlockWriter::new(folder.clone(), 12_000);
        let mut written = Vec::new();
        for (first, bytes) in [(1, 1000), (11, 2003), (21, 3001), (31, 20_000), (41, 77), (51, 99)]
        {
            let records = vec![first as u8; bytes as usize];
            let run = run(first, if first == 41 { 1 } else { 10 }, bytes);
            written.push((run, writer.write(&run, &records).unwrap()));
        }
        let numbers = writer.finish().unwrap();
        assert_eq!(numbers, [1, 2, 3], "the large block has a file of its own");

        let listing = listing::open(directory.path()).unwrap();
        let mut found = Vec::new();
        for file in &listing.files {
            let reader = file.open().unwrap();
            for entry in Scan::new(&reader, &file.header) {
                let Found::Entry(Entry::Run(run, place)) = entry else { panic!("{entry:?}") };
                found.push((run, place));
            }
        }
        assert_eq!(found, written);
        for (run, place) in found {
            let path = folder.path_of(place.file, Role::Store);
            let (from, to) = (place.offset as usize, (place.offset + place.bytes) as usize);
            let file = fs::read(path).unwrap();
            assert!(file.len() <= 12_000 || run.bytes == 20_000);
            assert!(file[from..to].iter().all(|&byte| byte == run.first as u8));
        }
    }

    #[test]
    fn what_is_not_finished_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        let count = || fs::read_dir(folder.path()).unwrap().count();
        assert!(BlockWriter::new(folder.clone(), 1).finish().unwrap().is_empty());
        assert_eq!(count(), 0, "nothing to write makes no file");
        let mut writer = BlockWriter::new(folder.clone(), 1);
        writer.write(&run(1, 1, 8), &[1; 8]).unwrap();
        writer.write(&run(2, 1, 8), &[1; 8]).unwrap();
        assert_eq!(count(), 2);
        drop(writer);
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_block_that_cannot_be_written_goes_to_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        let mut writer = BlockWriter::new(folder, 1 << 20);
        let before = writer.write(&run(1, 1, 8), &[1; 8]).unwrap();
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut writer.current.as_mut().unwrap().file, full);
        let error = writer.write(&run(2, 1, 8), &[2; 8]).unwrap_err();
        assert!(error.full);
        assert_eq!(error.text, "write 0000000001.store: no space left on device");
        writer.unsynced[0].file = good;
        let after = writer.write(&run(2, 1, 8), &[2; 8]).unwrap();
        assert_eq!((before.file, after.file), (1, 2));
        assert_eq!(writer.finish().unwrap(), [1, 2]);
    }
}
