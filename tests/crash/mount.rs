//! A small filesystem of its own for a test, which nobody else sees and which ends with it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::skipped;
use crate::harness::{Peer, TempDir, on_each_peer};

/// A tmpfs on a directory, in the mount namespace of the thread that made it.
pub struct Small {
    dir: Arc<TempDir>,
}

impl Small {
    /// Mounts one of so many KiB. The calling thread, and what it starts, leave the namespace of
    /// the others: when the last of them ends, the mount is gone.
    pub fn new(kib: u64) -> io::Result<Self> {
        own_namespace()?;
        let dir = Arc::new(TempDir::new());
        mount("none", dir.path(), "tmpfs", 0, &format!("size={kib}k,mode=0777"))?;
        Ok(Small { dir })
    }

    /// The directory it is mounted on.
    pub fn dir(&self) -> Arc<TempDir> {
        self.dir.clone()
    }

    /// Gives it another size.
    pub fn resize(&self, kib: u64) {
        let size = format!("size={kib}k");
        mount("none", self.dir.path(), "tmpfs", libc::MS_REMOUNT, &size).unwrap();
    }

    /// Fills it but for so many KiB with a file, which is returned.
    pub fn fill(&self, kib_left: u64) -> PathBuf {
        let path = self.dir.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let block = vec![b'x'; 4096];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(kib_left * 1024)).unwrap();
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(self.dir.path());
    }
}

/// From now on what this thread mounts is seen only by itself and by what it starts.
pub fn own_namespace() -> io::Result<()> {
    // SAFETY: unshare takes only flags, and changes only the calling thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// umount(2), also when somebody still has a file open.
pub fn unmount(target: &Path) {
    let path = CString::new(target.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the path is a C string that lives until the call returns.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// mount(2).
pub fn mount(
    source: &str,
    target: &Path,
    kind: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let [source, kind, data] = [source, kind, data].map(|text| CString::new(text).unwrap());
    let target = CString::new(target.as_os_str().as_encoded_bytes()).unwrap();
    let (source, target) = (source.as_ptr(), target.as_ptr());
    // SAFETY: all are C strings that live until the call returns.
    check(unsafe { libc::mount(source, target, kind.as_ptr(), flags, data.as_ptr().cast()) })
}

/// Runs a test on each program with a small filesystem, where mounting is permitted; where it is
/// not, that is printed, and nothing is said to have passed.
pub fn on_small(kib: u64, test: impl Fn(Peer, &Small) + Sync) {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    on_each_peer(|peer| test(peer, &Small::new(kib).unwrap()));
}

fn cannot_mount() -> Option<String> {
    let trying = thread::spawn(|| Small::new(64).map(drop));
    let result = trying.join().unwrap();
    result.err().map(|error| format!("this process may not mount: {error}"))
}

/// The namespace of others does not see the mount, and it is as small as it should be.
#[test]
fn small_and_apart() {
    if let Some(reason) = cannot_mount() {
        return skipped(&reason);
    }
    thread::spawn(|| {
        let small = Small::new(64).unwrap();
        let dir = small.dir();
        let file = small.fill(8);
        assert!(fs::write(dir.path().join("fits"), [0; 8192]).is_ok());
        let error = fs::write(dir.path().join("more"), [0; 8192]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        let path = dir.path().to_path_buf();
        let _parent = fs::read_dir(&path).unwrap();
        let outside = fs::read_to_string("/proc/1/mounts").unwrap_or_default();
        assert!(!outside.contains(path.to_str().unwrap()));
        small.resize(128);
        assert!(fs::write(dir.path().join("more"), [0; 8192]).is_ok());
        assert_eq!(fs::metadata(file).unwrap().len() % 4096, 0);
    })
    .join()
    .unwrap();
}
