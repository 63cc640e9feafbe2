//! A file of an earlier start, read where it is wanted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use shards::disk::DiskError;
use shards::journal::scan::ReadAt;

use super::errors::failed;

/// An open file, for recovery.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    /// Its name, for errors.
    name: String,
    bytes: u64,
}

impl FileReader {
    /// A file that is open already, its name for errors, and its length.
    pub fn new(file: File, name: String, bytes: u64) -> FileReader {
        FileReader { file, name, bytes }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<FileReader, DiskError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let open = || {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        };
        match open() {
            Ok((file, bytes)) => Ok(FileReader::new(file, name, bytes)),
            Err(error) => Err(failed("open", &name, &error)),
        }
    }
}

impl ReadAt for FileReader {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let mut got = 0;
        while got < into.len() {
            match self.file.read_at(&mut into[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(bytes) => got += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", &self.name, &error)),
            }
        }
        Ok(got)
    }

    fn length(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shards::journal::scan::ReadAt;

    use super::FileReader;

    #[test]
    fn a_read_is_short_only_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let reader = FileReader::open(&path).unwrap();
        assert_eq!(reader.length(), 10);
        for (offset, want, expected) in [
            (0, 10, &b"0123456789"[..]),
            (3, 4, b"3456"),
            (8, 4, b"89"),
            (10, 1, b""),
            (99, 1, b""),
        ] {
            let mut into = vec![b'.'; want];
            let got = reader.read_at(offset, &mut into).unwrap();
            assert_eq!(&into[..got], expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = FileReader::open(Path::new("/nonexistent/7.store")).unwrap_err();
        assert_eq!(error.text, "open 7.store: no such file or directory");
        let directory = FileReader::open(Path::new("/tmp")).unwrap();
        assert_eq!(directory.read_at(0, &mut [0]).unwrap_err().text, "read tmp: is a directory");
    }
}
