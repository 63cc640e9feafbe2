//! The folder that all files are in, as long as the process runs: paths, numbers, and directory
//! entries that last.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use shards::disk::{DiskError, Role};

use super::errors::failed;
use super::names;

/// `<data-path>/log`, of which there is one per process. All threads share it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    directory: File,
    generation: u64,
    /// The number of the next file, whoever makes it.
    next_number: AtomicU32,
    /// See [`Folder::raise_sequence_floor`].
    sequence_floor: AtomicU64,
    quarantined: u64,
}

/// What was found in the folder when it was opened.
#[derive(Default)]
pub(super) struct Before {
    /// The highest number in any name.
    pub number: u32,
    /// The highest generation in any header; 0 without files.
    pub generation: u64,
    /// The highest floor in any header.
    pub sequence_floor: u64,
    /// How many files were set aside.
    pub quarantined: u64,
}

impl Folder {
    pub(super) fn new(path: PathBuf, directory: File, before: &Before) -> Result<Folder, String> {
        let used_up = |what: &str| format!("the {what} of {} have run out", path.display());
        let next_number = before.number.checked_add(1).ok_or_else(|| used_up("file numbers"))?;
        let generation = before.generation.checked_add(1).ok_or_else(|| used_up("generations"))?;
        Ok(Folder {
            path,
            directory,
            generation,
            next_number: AtomicU32::new(next_number),
            sequence_floor: AtomicU64::new(before.sequence_floor),
            quarantined: before.quarantined,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which start of the broker on this data path this is, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many files made no sense at the start.
    pub fn quarantined(&self) -> u64 {
        self.quarantined
    }

    /// Says that all sequence numbers below may have been given. Files that are made later say so,
    /// whatever is in them.
    pub fn raise_sequence_floor(&self, floor: u64) {
        self.sequence_floor.fetch_max(floor, Ordering::Relaxed);
    }

    pub(super) fn sequence_floor(&self) -> u64 {
        self.sequence_floor.load(Ordering::Relaxed)
    }

    /// A number that no file has had.
    pub(super) fn take_number(&self) -> Result<u32, DiskError> {
        let next = |number: u32| number.checked_add(1);
        self.next_number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|_| {
            DiskError { full: false, text: "the numbers of files have run out".to_owned() }
        })
    }

    /// Where a file is.
    pub(super) fn path_of(&self, number: u32, role: Role) -> PathBuf {
        self.path.join(names::of_file(number, role))
    }

    /// Gives a file another name, for good.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.path.join(from), self.path.join(to))
            .map_err(|error| failed("rename", from, &error))?;
        self.sync()
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), DiskError> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", name, &error))
            }
            _ => Ok(()),
        }
    }

    /// Makes new, changed and removed names last.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        sync_directory(&self.directory)
            .map_err(|error| failed("sync", &self.path.display().to_string(), &error))
    }
}

/// Makes a directory's entries last.
pub(super) fn sync_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // Some network and FUSE file systems cannot; they have no better to offer.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        outcome => outcome,
    }
}
