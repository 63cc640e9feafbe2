//! A directory that is gone when the test is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty directory below the system's temporary one; removed on drop.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes the directory, readable by every user so that brokers may run as another one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("shoal-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A broker that is being killed may still write: what is left over is in the temp folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
