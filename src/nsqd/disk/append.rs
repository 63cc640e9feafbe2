//! The append: many pieces of memory to one place of a file, with as few system calls as it takes.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

/// Pieces that one system call gets: well below the kernel's limit of 1024, so that the list of
/// them is small enough for the stack, and enough that one call more does not matter.
const PIECES_PER_CALL: usize = 256;

/// Writes all pieces, one after the other, to a file from `offset` on, and returns how many bytes
/// that were.
///
/// # Errors
/// The kernel's. Anything may have been written then, of what is behind `offset`.
pub(super) fn append<'a>(
    file: &File,
    offset: u64,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> io::Result<u64> {
    let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).peekable();
    let mut at = offset;
    while pieces.peek().is_some() {
        let mut list = [IoSlice::new(&[]); PIECES_PER_CALL];
        let mut count = 0;
        for (place, piece) in list.iter_mut().zip(&mut pieces) {
            *place = IoSlice::new(piece);
            count += 1;
        }
        let write = |at, list: &[IoSlice<'_>]| write_some(file, at, list);
        at += write_all(at, &mut list[..count], write)?;
    }
    Ok(at - offset)
}

/// Writes all of a list that the kernel takes in one call, in as many calls as it likes.
fn write_all(
    offset: u64,
    mut list: &mut [IoSlice<'_>],
    mut write: impl FnMut(u64, &[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<u64> {
    let mut at = offset;
    while !list.is_empty() {
        let written = write(at, list)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        IoSlice::advance_slices(&mut list, written);
    }
    Ok(at - offset)
}

fn write_some(file: &File, offset: u64, list: &[IoSlice<'_>]) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    loop {
        // SAFETY: an `IoSlice` is laid out like an `iovec`, each names readable memory, and there
        // are as many as the call is told.
        let written = unsafe {
            libc::pwritev(file.as_raw_fd(), list.as_ptr().cast(), list.len() as libc::c_int, offset)
        };
        match usize::try_from(written) {
            Ok(written) => return Ok(written),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{ErrorKind, IoSlice, Read, Seek, SeekFrom};

    use super::{PIECES_PER_CALL, append, write_all, write_some};

    fn content(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn all_pieces_arrive_in_order_however_many_there_are() {
        for count in [0, 1, 2, PIECES_PER_CALL, PIECES_PER_CALL + 1, 10 * PIECES_PER_CALL + 3] {
            let file = tempfile::tempfile().unwrap();
            // Every seventh is empty, the others differ in length and content.
            let pieces: Vec<Vec<u8>> = (0..count).map(|at| vec![at as u8; at % 7]).collect();
            let written = append(&file, 10, pieces.iter().map(Vec::as_slice)).unwrap();
            let expected = pieces.concat();
            assert_eq!(written, expected.len() as u64);
            let got = content(file);
            assert_eq!(got.get(10..).unwrap_or_default(), expected, "{count} pieces");
        }
    }

    #[test]
    fn an_append_leaves_what_is_in_front_alone() {
        let file = tempfile::tempfile().unwrap();
        append(&file, 0, [&b"0123456789"[..]]).unwrap();
        append(&file, 3, [&b"ab"[..], b"", b"c"]).unwrap();
        assert_eq!(content(file), b"012abc6789");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = append(&full, 0, [&b"bytes"[..]]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(append(&full, 0, []).unwrap(), 0, "nothing always fits");
    }

    #[test]
    fn a_file_that_is_read_only_is_an_error() {
        let file = File::open("/dev/zero").unwrap();
        let error = write_some(&file, 0, &[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn what_the_kernel_writes_in_part_is_continued() {
        for step in 1..12 {
            let mut written = vec![b'.'; 5];
            let mut list = [&b"abc"[..], b"", b"defgh", b"ij"].map(IoSlice::new);
            let total = write_all(5, &mut list, |at, list| {
                assert_eq!(at, written.len() as u64);
                let rest: Vec<u8> = list.iter().flat_map(|piece| piece.to_vec()).collect();
                let some = rest.len().min(step);
                written.extend_from_slice(&rest[..some]);
                Ok(some)
            });
            assert_eq!((total.unwrap(), written.as_slice()), (10, &b".....abcdefghij"[..]));
        }
        let stuck = write_all(0, &mut [IoSlice::new(b"x")], |_, _| Ok(0)).unwrap_err();
        assert_eq!(stuck.kind(), ErrorKind::WriteZero);
    }
}
