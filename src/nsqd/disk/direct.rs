//! Stores are written and read past the kernel's cache: nobody reads them soon, and memory that the
//! cache would take, with a copy into it, costs more than the disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Has a file's bytes go straight between the disk and our memory. Where the file system cannot do
/// that, they go through the cache as ever.
pub(super) fn bypass_cache(file: &File) {
    if let Err(error) = set_direct(file) {
        tracing::debug!("disk: a store goes through the kernel's cache - {error}");
    }
}

fn set_direct(file: &File) -> io::Result<()> {
    // SAFETY: the call takes no pointer, and the descriptor is open.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_DIRECT) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
