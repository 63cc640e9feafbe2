//! How much room there is where the data is.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What this user may still write.
    pub free_bytes: u64,
    /// All there is.
    pub size_bytes: u64,
}

impl Space {
    /// That of the file system of a path; no path is the current directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Space> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut found = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the path ends with a zero, and the pointer is that of a whole, writable value.
        if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has filled the value.
        let found = unsafe { found.assume_init() };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { free_bytes: bytes(found.f_bavail), size_bytes: bytes(found.f_blocks) })
    }
}

#[cfg(test)]
mod tests {
    use super::Space;
    use std::path::Path;

    #[test]
    fn a_disk_has_some_space() {
        let Space { free_bytes, size_bytes } = Space::of(&std::env::temp_dir()).unwrap();
        assert!(free_bytes > 0 && free_bytes <= size_bytes);
        assert!(Space::of(Path::new("/no such path")).is_err());
        let Space { free_bytes, size_bytes } = Space::of(Path::new("")).unwrap();
        assert!(free_bytes <= size_bytes && size_bytes > 1 << 20, "{free_bytes} of {size_bytes}");
        assert!(Space::of(Path::new("/nowhere/at/all")).is_err());
    }
}
