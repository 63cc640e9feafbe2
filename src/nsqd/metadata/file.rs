//! The metadata file on the disk: there is always a whole one, whatever happens during a write.
//!
//! A write goes to a file of its own beside it, which takes its place by a rename once it is on
//! the disk. What a crash leaves of that is removed at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::go_text::errno_text;

const FILE_NAME: &str = "nsqd.dat";
/// Only the broker's user may read which topics there are.
const MODE: u32 = 0o600;
/// Digits of the largest number in the name of an unfinished file.
const DIGITS_MAX: usize = 20;

/// The metadata file of one data path, whose lock the caller holds.
#[derive(Debug)]
pub struct MetadataFile {
    directory: PathBuf,
    path: PathBuf,
}

impl MetadataFile {
    /// The file of this data path, which may not be there.
    pub fn new(directory: &Path) -> MetadataFile {
        MetadataFile { directory: directory.to_owned(), path: directory.join(FILE_NAME) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` when it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &self.path, &error)),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| failed("read", &self.path, &error))?;
        Ok(Some(bytes))
    }

    /// Replaces it. When this returns, the new one is on the disk.
    ///
    /// # Errors
    /// What failed, on which file and why. The old one is still there then, unless only the last
    /// step failed: the new one is there, but a power cut may bring the old one back.
    pub fn write(&self, text: &[u8]) -> Result<(), String> {
        let number = getrandom::u64().map_err(|error| format!("no random numbers - {error}"))?;
        let unfinished = self.directory.join(format!("{FILE_NAME}.{}.tmp", number >> 1));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(MODE).open(&unfinished);
        let file = file.map_err(|error| failed("open", &unfinished, &error))?;
        let replaced = fill(file, text)
            .map_err(|error| failed("write", &unfinished, &error))
            .and_then(|()| self.replace_by(&unfinished));
        if replaced.is_err() {
            // A full disk should not fill up with these. What cannot be removed now is removed at
            // the next start.
            let _ = fs::remove_file(&unfinished);
        }
        replaced?;
        self.sync_directory().map_err(|error| failed("sync", &self.directory, &error))
    }

    fn replace_by(&self, finished: &Path) -> Result<(), String> {
        fs::rename(finished, &self.path).map_err(|error| {
            let (from, to) = (finished.display(), self.path.display());
            format!("rename {from} {to}: {}", errno_text(&error))
        })
    }

    /// Makes the rename last.
    fn sync_directory(&self) -> io::Result<()> {
        match File::open(&self.directory)?.sync_all() {
            // Some network and FUSE file systems cannot; they have no better to offer.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => {
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Removes what writes of earlier processes left unfinished, and gives their names. Only files
    /// that such a write makes: of exactly such a name, regular, with one name, and with our user
    /// and mode.
    pub fn remove_unfinished(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let ours = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let ours = is_unfinished(&name) && entry.metadata().is_ok_and(|found| is_ours(&found));
            ours.then_some(name)
        });
        let names: Vec<String> = ours.collect();
        let remove = |name: &String| fs::remove_file(self.directory.join(name)).is_ok();
        names.into_iter().filter(remove).collect()
    }
}

/// Writes a file and waits until it is on the disk.
fn fill(mut file: File, text: &[u8]) -> io::Result<()> {
    file.write_all(text)?;
    file.sync_all()
}

/// Whether a problem of a write is that there is no room, so that it may go well when there is.
pub fn is_for_want_of_room(problem: &str) -> bool {
    let text = |errno| errno_text(&io::Error::from_raw_os_error(errno));
    [libc::ENOSPC, libc::EDQUOT].into_iter().any(|errno| problem.ends_with(&text(errno)))
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("{verb} {}: {}", path.display(), errno_text(error))
}

/// Whether a write, ours or the original's, gives this name to an unfinished file.
fn is_unfinished(name: &str) -> bool {
    let rest = name.strip_prefix(FILE_NAME).and_then(|rest| rest.strip_prefix('.'));
    rest.and_then(|rest| rest.strip_suffix(".tmp")).is_some_and(|digits| {
        (1..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'))
    })
}

fn is_ours(found: &fs::Metadata) -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    found.is_file() && found.nlink() == 1 && found.uid() == user && found.mode() & 0o7777 == MODE
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use super::{MODE, MetadataFile, is_unfinished};

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = MetadataFile::new(directory.path());
        assert_eq!(file.read(), Ok(None));
        for text in ["a long text", "short", ""] {
            file.write(text.as_bytes()).unwrap();
            assert_eq!(file.read().unwrap().unwrap(), text.as_bytes());
            assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, MODE);
            assert_eq!(names(directory.path()), ["nsqd.dat"]);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = MetadataFile::new(directory.path());
        fs::create_dir(file.path()).unwrap();
        let error = file.write(b"text").unwrap_err();
        assert!(error.starts_with("rename ") && error.ends_with("directory"), "{error}");
        assert_eq!(names(directory.path()), ["nsqd.dat"]);
        let error = file.read().unwrap_err();
        assert_eq!(error, format!("read {}: is a directory", file.path().display()));
        fs::remove_dir_all(directory.path()).unwrap();
        let error = file.write(b"text").unwrap_err();
        assert!(error.starts_with("open ") && error.ends_with("no such file or directory"));
    }

    #[test]
    fn names_of_unfinished_files() {
        for ours in ["nsqd.dat.0.tmp", "nsqd.dat.5577006791947779410.tmp"] {
            assert!(is_unfinished(ours), "{ours}");
        }
        for foreign in [
            "nsqd.dat",
            "nsqd.dat.tmp",
            "nsqd.dat..tmp",
            "nsqd.dat.1.tmp~",
            "nsqd.dat.1.bak",
            "nsqd.dat.01.tmp",
            "nsqd.dat.-1.tmp",
            "nsqd.dat.1a.tmp",
            "nsqd.dat.1.2.tmp",
            "xnsqd.dat.1.tmp",
            "nsqd.dat.123456789012345678901.tmp",
        ] {
            assert!(!is_unfinished(foreign), "{foreign}");
        }
    }

    #[test]
    fn only_what_a_write_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let make = |name: &str, mode| {
            fs::write(path(name), "x").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        make("nsqd.dat", MODE);
        make("nsqd.dat.1.tmp", MODE);
        make("nsqd.dat.2.tmp", 0o644);
        make("nsqd.dat.3.bak", MODE);
        make("nsqd.dat.4.tmp", MODE);
        fs::hard_link(path("nsqd.dat.4.tmp"), path("linked")).unwrap();
        fs::create_dir(path("nsqd.dat.5.tmp")).unwrap();
        symlink(path("nsqd.dat"), path("nsqd.dat.6.tmp")).unwrap();
        let before = names(directory.path());
        let removed = MetadataFile::new(directory.path()).remove_unfinished();
        assert_eq!(removed, ["nsqd.dat.1.tmp"]);
        let after: Vec<_> = before.into_iter().filter(|name| name != "nsqd.dat.1.tmp").collect();
        assert_eq!(names(directory.path()), after);
    }
}
