//! What is in the folder when the process starts.
//!
//! A file that makes no sense is set aside under another name, counted and logged, and never
//! removed. What an interrupted start or stop leaves (files without a name of their own, files
//! without a byte in them) is removed. What is not a regular file is left alone.

use std::ffi::CString;
use std::fs::{self, DirBuilder, DirEntry, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shards::disk::{DiskError, Role};
use shards::journal::file::{FILE_HEADER_BYTES, FileHeader, Foreign};

use super::folder::{Before, Folder, sync_directory};
use super::names::{self, Named};
use super::reader::FileReader;
use crate::config::go_text::errno_text;

/// Numbers from here on count only in files of ours: a foreign name must not use them up.
const STRANGE_NUMBER: u32 = 1 << 31;
pub(super) const FOLDER: &str = "log";
/// Only the broker's user may look into it.
const MODE: u32 = 0o700;

/// The folder, and the files of earlier starts.
#[derive(Debug)]
pub struct Listing {
    /// The folder.
    pub folder: Arc<Folder>,
    /// The files that have a good header, those of older starts first, then by number.
    pub files: Vec<Found>,
}

/// A file of an earlier start.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its number.
    pub number: u32,
    /// What it is for.
    pub role: Role,
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself, which agrees with its name.
    pub header: FileHeader,
}

impl Found {
    /// Opens it for reading.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self) -> Result<FileReader, DiskError> {
        FileReader::open(&self.path)
    }
}

/// Opens the folder of a data path, whose lock the caller holds, and makes it if it is not there.
///
/// # Errors
/// It cannot be made, looked at or put in order; or a file in it cannot be read, which does not
/// say that it makes no sense.
pub fn open(data_path: &Path) -> Result<Listing, String> {
    let path = data_path.join(FOLDER);
    let directory =
        make_folder(data_path, &path).map_err(|error| problem("open", &path, &error))?;
    let mut look =
        Look { path: &path, before: Before::default(), files: Vec::new(), changed: false };
    look.at_all()?;
    if look.changed {
        sync_directory(&directory).map_err(|error| problem("sync", &path, &error))?;
    }
    let Look { before, mut files, .. } = look;
    files.sort_by_key(|found| (found.header.generation, found.number));
    Ok(Listing { folder: Arc::new(Folder::new(path, directory, &before)?), files })
}

fn make_folder(data_path: &Path, path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(MODE).create(path) {
        Ok(()) => sync_directory(&File::open(data_path)?)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let directory = File::open(path)?;
    if !directory.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    check_writable(path)?;
    Ok(directory)
}

/// A folder in which nothing can be made is an error at once; one that is full is not.
fn check_writable(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: the path is a C string for the length of the call.
    match unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The look through the folder.
struct Look<'a> {
    path: &'a Path,
    before: Before,
    files: Vec<Found>,
    /// Names were changed or removed.
    changed: bool,
}

impl Look<'_> {
    fn at_all(&mut self) -> Result<(), String> {
        let list = || -> io::Result<Vec<DirEntry>> { fs::read_dir(self.path)?.collect() };
        let mut entries = list().map_err(|error| problem("read", self.path, &error))?;
        // The order of a directory is no order.
        entries.sort_by_key(DirEntry::file_name);
        for entry in &entries {
            let number = entry.file_name().to_str().and_then(names::number);
            if let Some(number) = number.filter(|&number| number < STRANGE_NUMBER) {
                self.before.number = self.before.number.max(number);
            }
        }
        entries.iter().try_for_each(|entry| self.at(entry))
    }

    fn at(&mut self, entry: &DirEntry) -> Result<(), String> {
        let name = entry.file_name();
        let kind = entry.file_type().map_err(|error| problem("stat", &entry.path(), &error))?;
        if !kind.is_file() {
            tracing::warn!("disk: {} is no regular file and is left alone", entry.path().display());
            return Ok(());
        }
        match names::read(&name) {
            Named::File(number, role) => self.at_file(entry, number, role),
            Named::Spare => self.remove(entry, "was not in use"),
            Named::Bad | Named::Hidden => Ok(()),
            Named::Foreign => self.set_aside(entry, "its name is none of a data file"),
        }
    }

    fn at_file(&mut self, entry: &DirEntry, number: u32, role: Role) -> Result<(), String> {
        let path = entry.path();
        let decoded = read_header(&path).map_err(|error| problem("read", &path, &error))?;
        let header = match decoded {
            Ok(header) => header,
            Err(Foreign::Empty) => {
                let empty = is_empty(&path).map_err(|error| problem("read", &path, &error))?;
                return match empty {
                    true => self.remove(entry, "is empty"),
                    false => self.set_aside(entry, "its header is lost"),
                };
            }
            Err(foreign) => return self.set_aside(entry, &reason(foreign)),
        };
        if (header.number, header.role) != (number, role) {
            let said = names::of_file(header.number, header.role);
            return self.set_aside(entry, &format!("its header says that it is {said}"));
        }
        if self.files.iter().any(|other| other.number == number) {
            return self.set_aside(entry, "another file has its number");
        }
        self.before.number = self.before.number.max(number);
        self.before.generation = self.before.generation.max(header.generation);
        self.before.sequence_floor = self.before.sequence_floor.max(header.sequence_floor);
        self.files.push(Found { number, role, path, header });
        Ok(())
    }

    /// Removes what holds nothing.
    fn remove(&mut self, entry: &DirEntry, why: &str) -> Result<(), String> {
        let path = entry.path();
        tracing::debug!("disk: removing {}, which {why}", path.display());
        fs::remove_file(&path).map_err(|error| problem("remove", &path, &error))?;
        self.changed = true;
        Ok(())
    }

    /// Gives a file that makes no sense a name under which nobody minds it.
    fn set_aside(&mut self, entry: &DirEntry, why: &str) -> Result<(), String> {
        let path = entry.path();
        let is_free = |path: &PathBuf| {
            let found = fs::symlink_metadata(path);
            found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let name = entry.file_name();
        let mut names = names::of_bad(&name).map(|name| self.path.join(name));
        let aside = names.find(is_free).expect("a folder has fewer files than there are numbers");
        fs::rename(&path, &aside).map_err(|error| problem("rename", &path, &error))?;
        tracing::error!(
            "disk: {} makes no sense ({why}) and is now {}",
            path.display(),
            aside.display()
        );
        self.before.quarantined += 1;
        self.changed = true;
        Ok(())
    }
}

fn read_header(path: &Path) -> io::Result<Result<FileHeader, Foreign>> {
    let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
    File::open(path)?.take(FILE_HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(FileHeader::decode(&bytes))
}

/// Whether there is no byte but zeros in the whole file.
fn is_empty(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(bytes) if buffer[..bytes].iter().any(|&byte| byte != 0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn reason(foreign: Foreign) -> String {
    match foreign {
        Foreign::Empty => "it is empty".to_owned(),
        Foreign::NotOurs => "it is no data file".to_owned(),
        Foreign::Version(version) => format!("its format is of another version, {version}"),
        Foreign::Damaged => "its header is damaged".to_owned(),
    }
}

fn problem(action: &str, path: &Path, error: &io::Error) -> String {
    format!("{action} {}: {}", path.display(), errno_text(error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use shards::disk::Role;
    use shards::journal::file::FileHeader;

    use super::open;

    fn header(number: u32, role: Role, generation: u64) -> FileHeader {
        FileHeader { role, number, generation, shard: 0, nonce: 7, sequence_floor: generation * 10 }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_made_for_nobody_else_and_an_empty_one_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let listing = open(directory.path()).unwrap();
            assert_eq!((listing.files.len(), listing.folder.generation()), (0, 1));
            assert_eq!(listing.folder.take_number().unwrap(), 1);
            let mode = fs::metadata(listing.folder.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[test]
    fn what_makes_sense_is_listed_in_order_and_numbers_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::create_dir(&log).unwrap();
        let put = |name: &str, header: FileHeader| {
            fs::write(log.join(name), &header.encode()[..]).unwrap();
        };
        put("0000000003.store", header(3, Role::Store, 4));
        put("0000000008.journal", header(8, Role::Journal, 2));
        put("0000000005.journal", header(5, Role::Journal, 2));
        fs::write(log.join("0000000040.journal.bad.2"), "old").unwrap();
        let listing = open(directory.path()).unwrap();
        let found: Vec<_> = listing.files.iter().map(|file| (file.number, file.role)).collect();
        assert_eq!(found, [(5, Role::Journal), (8, Role::Journal), (3, Role::Store)]);
        assert_eq!(listing.files[0].header, header(5, Role::Journal, 2));
        assert_eq!(listing.files[0].path, log.join("0000000005.journal"));
        assert!(listing.files[0].open().is_ok());
        assert_eq!(listing.folder.generation(), 5);
        assert_eq!(listing.folder.sequence_floor(), 40);
        assert_eq!(listing.folder.quarantined(), 0);
        assert_eq!(listing.folder.take_number().unwrap(), 41);
        assert_eq!(listing.folder.take_number().unwrap(), 42);
    }

    #[test]
    fn what_makes_no_sense_is_set_aside_whole() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::create_dir(&log).unwrap();
        let mut lost = vec![0; 300_000];
        lost[299_999] = 1;
        let mut version = header(5, Role::Store, 1).encode().to_vec();
        for copy in [0, 2048] {
            version[copy + 12] = 9;
            let crc = crc32fast::hash(&version[copy + 12..copy + 64]);
            version[copy + 8..copy + 12].copy_from_slice(&crc.to_le_bytes());
        }
        let files: [(&str, Vec<u8>); 8] = [
            ("0000000001.journal", lost),
            ("0000000002.journal", b"what is this".to_vec()),
            ("0000000003.journal", header(4, Role::Journal, 1).encode().to_vec()),
            ("0000000004.journal", header(4, Role::Store, 1).encode().to_vec()),
            ("0000000005.store", version),
            ("0000000006.journal", header(6, Role::Journal, 1).encode().to_vec()),
            ("0000000006.store", header(6, Role::Store, 1).encode().to_vec()),
            ("notes.txt", b"mine".to_vec()),
        ];
        for (name, content) in &files {
            fs::write(log.join(name), content).unwrap();
        }
        fs::write(log.join("0000000002.journal.bad"), "an older one").unwrap();
        let listing = open(directory.path()).unwrap();
        assert_eq!(listing.folder.quarantined(), 7);
        assert_eq!(listing.files.len(), 1);
        assert_eq!(listing.files[0].path, log.join("0000000006.journal"));
        for (name, content) in &files {
            let now = match *name {
                "0000000006.journal" => "0000000006.journal".to_owned(),
                "0000000002.journal" => "0000000002.journal.bad.2".to_owned(),
                _ => format!("{name}.bad"),
            };
            assert!(fs::read(log.join(&now)).unwrap() == *content, "{now}");
        }
        assert_eq!(fs::read(log.join("0000000002.journal.bad")).unwrap(), b"an older one");
        assert_eq!(names(&log).len(), files.len() + 1);
        let again = open(directory.path()).unwrap();
        assert_eq!((again.folder.quarantined(), again.files.len()), (0, 1));
        assert_eq!(again.folder.take_number().unwrap(), 7);
    }

    #[test]
    fn what_an_interrupted_process_leaves_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("0000000001.store"), "").unwrap();
        fs::write(log.join("0000000002.journal"), vec![0; 1 << 20]).unwrap();
        let spare = header(3, Role::Journal, 1).encode();
        fs::write(log.join("0000000004.spare"), &spare[..]).unwrap();
        let listing = open(directory.path()).unwrap();
        assert!(names(&log).is_empty());
        assert_eq!((listing.files.len(), listing.folder.quarantined()), (0, 0));
        assert_eq!(listing.folder.take_number().unwrap(), 5, "their numbers are not used again");
    }

    #[test]
    fn what_is_not_a_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::create_dir_all(log.join("0000000001.store")).unwrap();
        symlink("/etc/hostname", log.join("0000000002.store")).unwrap();
        fs::write(log.join(".nfs0001"), "").unwrap();
        let listing = open(directory.path()).unwrap();
        assert_eq!((listing.files.len(), listing.folder.quarantined()), (0, 0));
        assert_eq!(names(&log), [".nfs0001", "0000000001.store", "0000000002.store"]);
        assert_eq!(listing.folder.take_number().unwrap(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "a file").unwrap();
        assert_eq!(
            open(directory.path()).unwrap_err(),
            format!("open {}: not a directory", log.display())
        );
        fs::remove_file(&log).unwrap();
        fs::create_dir(&log).unwrap();
        // A foreign name does not use the numbers up.
        fs::write(log.join("4294967295.store.bad"), "").unwrap();
        assert_eq!(open(directory.path()).unwrap().folder.take_number(), Ok(1));
    }
}
