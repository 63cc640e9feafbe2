//! The data directory, and the lock that keeps a second broker off it.
//!
//! It is the lock that the original takes, so neither starts on a directory that the other uses.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::config::go_text::errno_text;

/// A locked data directory. The lock is given back when this is dropped or the process ends.
#[derive(Debug)]
pub struct DataPathLock {
    directory: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl DataPathLock {
    /// Locks the directory, which must exist; an empty path is the current one. The error is the
    /// end of the line `failed to lock data-path: `.
    pub fn take(path: &Path) -> Result<DataPathLock, String> {
        let directory = if path.as_os_str().is_empty() {
            std::env::current_dir()
                .map_err(|error| format!("no current directory: {}", errno_text(&error)))?
        } else {
            path.to_owned()
        };
        let shown = directory.display();
        let file = File::open(&directory)
            .map_err(|error| format!("open {shown}: {}", errno_text(&error)))?;
        let is_directory = file.metadata().is_ok_and(|metadata| metadata.is_dir());
        if !is_directory {
            return Err(format!("open {shown}: not a directory"));
        }
        let problem = match file.try_lock() {
            Ok(()) => {
                return Ok(DataPathLock { directory, _file: file });
            }
            Err(TryLockError::WouldBlock) => "resource temporarily unavailable".to_owned(),
            Err(TryLockError::Error(error)) => errno_text(&error),
        };
        Err(format!(
            "cannot flock directory {shown} - {problem} (possibly in use by another instance of \
             nsqd)"
        ))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::DataPathLock;

    #[test]
    fn a_second_broker_is_refused_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataPathLock::take(directory.path()).unwrap();
        assert_eq!(first.directory(), directory.path());
        assert_eq!(
            DataPathLock::take(directory.path()).unwrap_err(),
            format!(
                "cannot flock directory {} - resource temporarily unavailable (possibly in use by \
                 another instance of nsqd)",
                directory.path().display()
            )
        );
        drop(first);
        assert!(DataPathLock::take(directory.path()).is_ok());
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        assert_eq!(
            DataPathLock::take(Path::new("/nonexistent")).unwrap_err(),
            "open /nonexistent: no such file or directory"
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataPathLock::take(&file).unwrap_err();
        assert!(error.ends_with("not a directory"), "{error}");
    }
}
