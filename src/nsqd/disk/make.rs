//! How a file comes to be: under a name that means nothing, until its header is on the disk.
//!
//! So whatever ends the process on the way, a journal or store file that has its name has its
//! header, and what was left half-made is known by its name and removed at the next start.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use shards::disk::{DiskError, Role};
use shards::journal::file::FileHeader;

use super::errors::failed;
use super::folder::Folder;
use super::limits::{JOURNAL_BYTES, ZEROS_BYTES};
use super::names;

/// Only the broker's user may read what is in messages.
const MODE: u32 = 0o600;

/// The header of a file that one shard makes now.
pub(super) fn header(folder: &Folder, role: Role, shard: u16) -> Result<FileHeader, DiskError> {
    let random = |error| DiskError { full: false, text: format!("no random numbers - {error}") };
    Ok(FileHeader {
        role,
        number: folder.take_number()?,
        generation: folder.generation(),
        shard,
        nonce: getrandom::u64().map_err(random)?,
        sequence_floor: folder.sequence_floor(),
    })
}

/// Makes a new file. In a journal file, all bytes are there from the start; with `overwrite` they
/// have been written as well, so that a later sync has no extents to convert.
pub(super) fn make(
    folder: &Folder,
    header: &FileHeader,
    overwrite: bool,
) -> Result<File, DiskError> {
    let spare = names::of_spare(header.number);
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(folder.path().join(&spare))
        .map_err(|error| failed("create", &spare, &error))?;
    let prepared = match header.role {
        Role::Journal => preallocate(&file, JOURNAL_BYTES, overwrite),
        Role::Store => Ok(()),
    };
    let prepared = prepared.map_err(|error| failed("preallocate", &spare, &error));
    let write = |header: &[u8]| {
        file.write_all_at(header, 0)?;
        file.sync_all()
    };
    prepared.and_then(|()| put_in_place(folder, &spare, header, write)).inspect_err(|_| {
        clean_up(folder, &spare);
    })?;
    Ok(file)
}

/// Makes a journal file of one that is not needed any more. Checksums start with the new header's
/// nonce, so none of its old entries is good.
pub(super) fn make_of_spare(
    folder: &Folder,
    spare: u32,
    header: &FileHeader,
) -> Result<File, DiskError> {
    assert_eq!(header.role, Role::Journal, "only journal files are used again");
    let spare = names::of_spare(spare);
    let file = OpenOptions::new().read(true).write(true).open(folder.path().join(&spare));
    let file = file.map_err(|error| failed("open", &spare, &error));
    let made = file.and_then(|file| {
        put_in_place(folder, &spare, header, |header| write_through(&file, header))?;
        Ok(file)
    });
    made.inspect_err(|_| clean_up(folder, &spare))
}

/// Has the header written, and gives the file its name when the header is on the disk.
fn put_in_place(
    folder: &Folder,
    spare: &str,
    header: &FileHeader,
    write: impl FnOnce(&[u8]) -> io::Result<()>,
) -> Result<(), DiskError> {
    write(&header.encode()[..]).map_err(|error| failed("write", spare, &error))?;
    let name = names::of_file(header.number, header.role);
    folder.rename(spare, &name).inspect_err(|_| clean_up(folder, &name))
}

/// Removes what could not be made. What cannot be removed now is removed at the next start.
fn clean_up(folder: &Folder, name: &str) {
    if let Err(error) = folder.remove(name) {
        tracing::debug!("disk: {}", error.text);
    }
}

/// Writes the start of a file whose size and place on the disk are known there, and waits until
/// it is on the disk. What else of the file is still to be written need never be: it belongs to an
/// earlier use, and is about to be overwritten.
fn write_through(file: &File, bytes: &[u8]) -> io::Result<()> {
    let piece = IoSlice::new(bytes);
    loop {
        // SAFETY: an `IoSlice` is laid out like an `iovec`, and names readable memory.
        let written = unsafe {
            libc::pwritev2(file.as_raw_fd(), (&raw const piece).cast(), 1, 0, libc::RWF_DSYNC)
        };
        match usize::try_from(written) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Makes room on the disk for all bytes of a file.
fn preallocate(file: &File, bytes: u64, overwrite: bool) -> io::Result<()> {
    let written = match allocate(file, bytes) {
        Ok(()) => false,
        // The file system cannot, but it can be filled.
        Err(error) if is_unsupported(&error) => {
            write_zeros(file, bytes)?;
            true
        }
        Err(error) => return Err(error),
    };
    if overwrite && !written {
        write_zeros(file, bytes)?;
    }
    Ok(())
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    loop {
        // SAFETY: the call takes no pointer, and the descriptor is open.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = 0;
    while at < bytes {
        let piece = &zeros[..(bytes - at).min(ZEROS_BYTES as u64) as usize];
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::ErrorKind;
    use std::os::unix::fs::MetadataExt;

    use shards::disk::Role;
    use shards::journal::file::FileHeader;

    use super::super::listing;
    use super::*;

    fn names_in(folder: &Folder) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_journal_file_is_there_as_a_whole_and_a_store_file_grows() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        folder.raise_sequence_floor(77);
        for (number, role, overwrite, bytes) in [
            (1, Role::Journal, false, JOURNAL_BYTES),
            (2, Role::Journal, true, JOURNAL_BYTES),
            (3, Role::Store, true, 4096),
        ] {
            let header = header(&folder, role, 5).unwrap();
            assert_eq!((header.number, header.shard, header.sequence_floor), (number, 5, 77));
            let file = make(&folder, &header, overwrite).unwrap();
            let path = folder.path_of(number, role);
            let found = fs::metadata(&path).unwrap();
            assert_eq!((found.len(), found.mode() & 0o777), (bytes, MODE));
            assert!(found.blocks() * 512 >= bytes, "room for {bytes} bytes is on the disk");
            assert_eq!(found.ino(), file.metadata().unwrap().ino());
            assert_eq!(FileHeader::decode(&fs::read(&path).unwrap()), Ok(header));
        }
        assert_eq!(
            names_in(&folder),
            ["0000000001.journal", "0000000002.journal", "0000000003.store"]
        );
    }

    #[test]
    fn what_cannot_be_made_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let folder = listing::open(directory.path()).unwrap().folder;
        let header = header(&folder, Role::Store, 0).unwrap();
        // The last step fails: a directory is in the way.
        fs::create_dir(folder.path_of(header.number, Role::Store)).unwrap();
        let error = make(&folder, &header, false).unwrap_err();
        assert!(error.text.starts_with("rename 0000000001.spare: "), "{}", error.text);
        assert_eq!(names_in(&folder), ["0000000001.store"], "only the directory is left");
        let error = make_of_spare(&folder, 9, &FileHeader { role: Role::Journal, ..header });
        assert_eq!(error.unwrap_err().text, "open 0000000009.spare: no such file or directory");
    }

    #[test]
    fn zeros_stand_in_where_room_cannot_be_made() {
        let device = OpenOptions::new().write(true).open("/dev/null").unwrap();
        let error = allocate(&device, 4096).unwrap_err();
        assert!(!is_unsupported(&error), "a device is an error of its own: {error}");
        for errno in [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL] {
            assert!(is_unsupported(&io::Error::from_raw_os_error(errno)));
        }
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, ZEROS_BYTES as u64 + 5).unwrap();
        assert_eq!(file.metadata().unwrap().len(), ZEROS_BYTES as u64 + 5);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(write_zeros(&full, 1).unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
