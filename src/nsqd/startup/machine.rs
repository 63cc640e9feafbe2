//! What a start says of the machine: the kernel, and the room where the data is.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::memory::size_text;

/// The line of the log about kernel and processors.
pub fn kernel_line() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = match release.trim() {
        "" => "of unknown version",
        release => release,
    };
    format!("KERNEL: Linux {release} on {}", std::env::consts::ARCH)
}

/// How much room is left there, in words; empty where nobody can say.
pub fn room_text(directory: &Path) -> String {
    room_bytes(directory).map_or_else(String::new, |bytes| format!(", {} free", size_text(bytes)))
}

/// Bytes that this user may still write to a file system.
fn room_bytes(directory: &Path) -> Option<u64> {
    let path = CString::new(directory.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero, and the pointer is that of a whole, writable value.
    let failed = unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0;
    if failed {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled the value.
    let found = unsafe { found.assume_init() };
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{kernel_line, room_bytes, room_text};

    #[test]
    fn the_machine_is_named() {
        let line = kernel_line();
        assert!(line.starts_with("KERNEL: Linux ") && line.contains('.'), "{line}");
        let directory = tempfile::tempdir().unwrap();
        assert!(room_bytes(directory.path()).unwrap() > 0);
        assert!(room_text(directory.path()).ends_with(" free"));
        assert_eq!(room_text(Path::new("/nonexistent")), "");
    }
}
