//! What a start says of the machine: the kernel, and the room where the data is.

use std::fs;
use std::path::Path;

use super::memory::size_text;
use crate::nsqd::disk::Space;

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
    Space::of(directory)
        .map_or_else(|_| String::new(), |space| format!(", {} free", size_text(space.free_bytes)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Space, kernel_line, room_text};

    #[test]
    fn the_machine_is_named() {
        let line = kernel_line();
        assert!(line.starts_with("KERNEL: Linux ") && line.contains('.'), "{line}");
        let directory = tempfile::tempdir().unwrap();
        assert!(Space::of(directory.path()).unwrap().free_bytes > 0);
        assert!(room_text(directory.path()).ends_with(" free"));
        assert_eq!(room_text(Path::new("/nonexistent")), "");
    }
}
