//! Small steps on the disk that a takeover and an export are made of.
//!
//! Whatever changes something goes through here, so that tests can end the process before any
//! of these steps.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::config::go_text::errno_text;

/// Only the broker's user may read messages.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// What could not be done, with which file and why.
pub fn failed(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("{verb} {}: {}", path.display(), errno_text(error))
}

/// A new file, which must not be there.
///
/// # Errors
/// What failed.
pub fn create(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true).mode(FILE_MODE);
    step("create", path, || options.open(path))
}

/// A directory, unless it is there.
///
/// # Errors
/// What failed.
pub fn create_directory(path: &Path) -> Result<(), String> {
    step("mkdir", path, || match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    })
}

/// Writes all bytes at this offset.
///
/// # Errors
/// What failed.
pub fn write_at(file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<(), String> {
    step("write", path, || file.write_all_at(bytes, at))
}

/// Writes a whole file, in place of one that an earlier try may have left, and makes it last.
///
/// # Errors
/// What failed.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if path.exists() {
        remove(path)?;
    }
    let mut file = create(path)?;
    step("write", path, || file.write_all(bytes))?;
    sync(&file, path)
}

/// Gives a file another name.
///
/// # Errors
/// What failed.
pub fn rename(from: &Path, to: &Path) -> Result<(), String> {
    step("rename", from, || fs::rename(from, to))
}

/// Gives a file another name, unless that has happened already.
///
/// # Errors
/// What failed.
pub fn rename_if_there(from: &Path, to: &Path) -> Result<(), String> {
    if from.exists() { rename(from, to) } else { Ok(()) }
}

/// Removes a file.
///
/// # Errors
/// What failed.
pub fn remove(path: &Path) -> Result<(), String> {
    step("remove", path, || fs::remove_file(path))
}

/// Makes a file's bytes last.
///
/// # Errors
/// What failed.
pub fn sync(file: &File, path: &Path) -> Result<(), String> {
    step("sync", path, || file.sync_all())
}

/// Makes what was created, renamed and removed in a directory last.
///
/// # Errors
/// What failed.
pub fn sync_directory(path: &Path) -> Result<(), String> {
    step("sync", path, || match File::open(path)?.sync_all() {
        // Some network and FUSE file systems cannot; they have no better to offer.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        outcome => outcome,
    })
}

fn step<T>(verb: &str, path: &Path, action: impl FnOnce() -> io::Result<T>) -> Result<T, String> {
    #[cfg(test)]
    crash::check()?;
    action().map_err(|error| failed(verb, path, &error))
}

/// Ends a test's process, as far as the disk can tell: from some step on none happens any more.
#[cfg(test)]
pub mod crash {
    use std::cell::Cell;

    thread_local! {
        static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Runs something whose steps on the disk end after so many.
    pub fn after<T>(steps: u32, run: impl FnOnce() -> T) -> T {
        STEPS_LEFT.set(Some(steps));
        let outcome = run();
        STEPS_LEFT.set(None);
        outcome
    }

    pub(super) fn check() -> Result<(), String> {
        match STEPS_LEFT.get() {
            None => Ok(()),
            Some(0) => Err("the process ends here".to_owned()),
            Some(left) => {
                STEPS_LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}
