//! The pretended disk as a mounted filesystem, over the kernel's FUSE protocol.
//!
//! The broker writes past libc, so that nothing could be put between them there; this is below it.
//! Nothing is cached: what the broker reads and writes comes here.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::disk::{Cut, Disk, Errno, Faults};
use super::mount::{mount, own_namespace, unmount};
use super::random::Random;
use crate::harness::TempDir;

/// The largest write that the kernel hands over, and room for what comes before it.
const WRITE_MAX: usize = 1 << 20;
const BUFFER: usize = WRITE_MAX + 4096;
/// Nothing that was opened is cached.
const DIRECT_IO: u32 = 1;

/// A pretended disk on a directory, in the mount namespace of the thread that made it.
pub struct Faulty {
    dir: Arc<TempDir>,
    disk: Arc<Mutex<Disk>>,
    /// What may be made to fail.
    pub faults: Arc<Faults>,
}

impl Faulty {
    /// Mounts an empty one.
    pub fn new() -> io::Result<Self> {
        own_namespace()?;
        let faulty =
            Faulty { dir: Arc::new(TempDir::new()), disk: Arc::default(), faults: Arc::default() };
        faulty.mount()?;
        Ok(faulty)
    }

    /// The directory it is mounted on.
    pub fn dir(&self) -> Arc<TempDir> {
        self.dir.clone()
    }

    /// The power is gone and comes again: what was not synced is lost, as far as `cut` says. The
    /// broker has to be dead.
    pub fn cut(&self, cut: Cut, random: &mut Random) {
        unmount(self.dir.path());
        lock(&self.disk).cut(cut, random);
        self.mount().unwrap();
    }

    fn mount(&self) -> io::Result<()> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        mount("faulty", self.dir.path(), "fuse", flags, &options)?;
        let (disk, faults) = (self.disk.clone(), self.faults.clone());
        thread::spawn(move || serve(device, &disk, &faults));
        Ok(())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        unmount(self.dir.path());
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers requests until the filesystem is unmounted.
fn serve(mut device: File, disk: &Mutex<Disk>, faults: &Faults) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match device.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Unmounted.
            Err(_) => return,
        };
        let request = Request::new(&buffer[..count]);
        let Some(answer) = answer(&request, disk, faults) else { continue };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno, Vec::new()),
        };
        let mut reply = Vec::with_capacity(16 + body.len());
        put32(&mut reply, 16 + body.len() as u32);
        reply.extend_from_slice(&error.to_ne_bytes());
        put64(&mut reply, request.unique);
        reply.extend_from_slice(&body);
        // A request whose sender was killed needs no answer: that is an error here, and no harm.
        let _ = device.write(&reply);
    }
}

/// A request's header, and what follows it.
struct Request<'a> {
    code: u32,
    unique: u64,
    node: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Request {
            code: get32(bytes, 4),
            unique: get64(bytes, 8),
            node: get64(bytes, 16),
            body: &bytes[40..],
        }
    }

    /// The zero-terminated names from this offset on.
    fn names(&self, offset: usize) -> Vec<&'a str> {
        let names = self.body[offset..].split(|byte| *byte == 0);
        names.map(|name| std::str::from_utf8(name).unwrap_or("?")).collect()
    }
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_ne_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_ne_bytes());
}

/// What the kernel is told; nothing when it does not wait for an answer.
fn answer(
    request: &Request<'_>,
    disk: &Mutex<Disk>,
    faults: &Faults,
) -> Option<Result<Vec<u8>, Errno>> {
    let mut disk = lock(disk);
    let disk = &mut *disk;
    let (node, body) = (request.node, request.body);
    let nothing = |()| Vec::new();
    Some(match request.code {
        // FORGET, INTERRUPT, BATCH_FORGET.
        2 | 36 | 42 => return None,
        // LOOKUP.
        1 => disk.look_up(node, request.names(0)[0]).and_then(|found| entry(disk, found)),
        // GETATTR.
        3 => attributes_answer(disk, node),
        // SETATTR: only lengths matter here.
        4 => {
            let sized = get32(body, 0) & 8 != 0;
            let done = if sized { disk.truncate(node, get64(body, 16)) } else { Ok(()) };
            done.and_then(|()| attributes_answer(disk, node))
        }
        // MKDIR.
        9 => disk.make(node, request.names(8)[0], true).and_then(|made| entry(disk, made)),
        // UNLINK, RMDIR.
        10 | 11 => disk.remove(node, request.names(0)[0]).map(nothing),
        // RENAME, RENAME2.
        12 | 45 => rename(request, disk).map(nothing),
        // OPEN, OPENDIR.
        14 | 27 => Ok(opened()),
        // READ.
        15 if faults.reads.load(Ordering::Relaxed) => Err(libc::EIO),
        15 => disk.read(node, get64(body, 8), get32(body, 16) as usize),
        // WRITE.
        16 => write(request, disk),
        // STATFS.
        17 => Ok(statistics()),
        // RELEASE, FLUSH, RELEASEDIR, DESTROY.
        18 | 25 | 29 | 38 => Ok(Vec::new()),
        // FSYNC, FSYNCDIR.
        20 | 30 => disk.sync(node, faults.sync_fails()).map(nothing),
        26 => Ok(initial(body)),
        // READDIR.
        28 => list(disk, node, get64(body, 8), get32(body, 16) as usize),
        // CREATE.
        35 => disk.make(node, request.names(16)[0], false).and_then(|made| {
            let mut out = entry(disk, made)?;
            out.extend(opened());
            Ok(out)
        }),
        // FALLOCATE: only the plain kind.
        43 => allocate(request, disk).map(nothing),
        _ => Err(libc::ENOSYS),
    })
}

/// INIT: version 7.31, large writes, and reads and writes side by side.
fn initial(body: &[u8]) -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    const ASYNC_DIO: u32 = 1 << 15;
    const MAX_PAGES: u32 = 1 << 22;
    let mut out = Vec::new();
    for value in [7, 31, 0, get32(body, 12) & (BIG_WRITES | ASYNC_DIO | MAX_PAGES)] {
        put32(&mut out, value);
    }
    // Requests in the background, and how many of them are a crowd.
    out.extend_from_slice(&64_u16.to_ne_bytes());
    out.extend_from_slice(&48_u16.to_ne_bytes());
    put32(&mut out, WRITE_MAX as u32);
    put32(&mut out, 1);
    out.extend_from_slice(&((WRITE_MAX / 4096) as u16).to_ne_bytes());
    out.resize(64, 0);
    out
}

fn opened() -> Vec<u8> {
    let mut out = Vec::new();
    put64(&mut out, 0);
    put32(&mut out, DIRECT_IO);
    put32(&mut out, 0);
    out
}

/// The attributes of a file or folder, which anybody may use.
fn attributes(disk: &Disk, node: u64) -> Result<Vec<u8>, Errno> {
    let length = disk.length(node)?;
    let mode = if length.is_some() { libc::S_IFREG } else { libc::S_IFDIR } | 0o777;
    let mut out = Vec::new();
    put64(&mut out, node);
    put64(&mut out, length.unwrap_or(0));
    put64(&mut out, length.unwrap_or(0).div_ceil(512));
    out.resize(out.len() + 3 * 8 + 3 * 4, 0);
    for value in [mode, 1, 0, 0, 0, 4096, 0] {
        put32(&mut out, value);
    }
    Ok(out)
}

fn attributes_answer(disk: &Disk, node: u64) -> Result<Vec<u8>, Errno> {
    let mut out = vec![0; 16];
    out.extend(attributes(disk, node)?);
    Ok(out)
}

fn entry(disk: &Disk, node: u64) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    put64(&mut out, node);
    out.resize(40, 0);
    out.extend(attributes(disk, node)?);
    Ok(out)
}

fn rename(request: &Request<'_>, disk: &mut Disk) -> Result<(), Errno> {
    let is_second = request.code == 45;
    let names = request.names(if is_second { 16 } else { 8 });
    let flags = if is_second { get32(request.body, 8) } else { 0 };
    let to = get64(request.body, 0);
    if flags & libc::RENAME_NOREPLACE != 0 && disk.look_up(to, names[1]).is_ok() {
        return Err(libc::EEXIST);
    }
    disk.rename((request.node, names[0]), (to, names[1]))
}

fn write(request: &Request<'_>, disk: &mut Disk) -> Result<Vec<u8>, Errno> {
    let count = get32(request.body, 16);
    disk.write(request.node, get64(request.body, 8), &request.body[40..40 + count as usize])?;
    let mut out = Vec::new();
    put32(&mut out, count);
    put32(&mut out, 0);
    Ok(out)
}

fn allocate(request: &Request<'_>, disk: &mut Disk) -> Result<(), Errno> {
    if get32(request.body, 24) != 0 {
        return Err(libc::EOPNOTSUPP);
    }
    let end = get64(request.body, 8) + get64(request.body, 16);
    let length = disk.length(request.node)?.ok_or(libc::EISDIR)?;
    if end > length { disk.truncate(request.node, end) } else { Ok(()) }
}

/// Much room.
fn statistics() -> Vec<u8> {
    let mut out = Vec::new();
    for value in [1 << 24, 1 << 23, 1 << 23, 1 << 20, 1 << 20] {
        put64(&mut out, value);
    }
    for value in [4096, 255, 4096] {
        put32(&mut out, value);
    }
    out.resize(80, 0);
    out
}

/// Names from the one with this number on, as many as there is room for.
fn list(disk: &Disk, folder: u64, from: u64, room: usize) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for (number, (name, node)) in (1..).zip(disk.names(folder)?).skip(from as usize) {
        if out.len() + 24 + name.len().next_multiple_of(8) > room {
            break;
        }
        let kind = if disk.length(*node)?.is_some() { libc::DT_REG } else { libc::DT_DIR };
        put64(&mut out, *node);
        put64(&mut out, number);
        put32(&mut out, name.len() as u32);
        put32(&mut out, u32::from(kind));
        out.extend_from_slice(name.as_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
    }
    Ok(out)
}
