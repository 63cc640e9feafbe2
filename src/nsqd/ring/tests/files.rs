//! Files through the ring: whole transfers whatever the kernel does in part, syncs after the
//! writes that they cover, bounds, and the end of a ring that is still at work.
//!
//! Pipes stand in for files where the kernel has to be slow, or to do a part at a time.

use super::*;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;

use shards::disk::Content;
use shards::page_buffer::PageBuffer;

use super::super::files::{FileDone, FileOutcome};
use super::super::limits::{FILE_SYNCS_MAX, FILE_TRANSFERS_MAX};

/// Both ends of a pipe: what is written to the second is read from the first.
fn pipe(flags: libc::c_int) -> (Arc<File>, Arc<File>) {
    let mut ends = [0; 2];
    // SAFETY: `ends` is room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags) }, 0);
    // SAFETY: the kernel just made them, and nobody else owns them.
    let [from, to] = ends.map(|end| Arc::new(unsafe { File::from_raw_fd(end) }));
    (from, to)
}

/// A file without a name.
fn file() -> Arc<File> {
    Arc::new(tempfile::tempfile().unwrap())
}

/// Turns until this many operations are over.
fn over(ring: &mut Ring, count: usize) -> Vec<FileDone> {
    let start = Instant::now();
    let mut over = Vec::new();
    while over.len() < count {
        assert!(start.elapsed() < PATIENCE, "only {} of {count} are over", over.len());
        ring.wait(Some(Duration::from_millis(100)), || true).unwrap();
        ring.events(|event| drop(event));
        over.extend(std::iter::from_fn(|| ring.next_file_done()));
    }
    over
}

fn read(done: &FileDone) -> Vec<u8> {
    match &done.outcome {
        FileOutcome::Read(Ok(bytes)) => bytes.to_vec(),
        other => panic!("not bytes that were read: {other:?}"),
    }
}

fn buffer(bytes: Vec<u8>) -> Content {
    PageBuffer::new(bytes, 0).into()
}

fn errno(done: &FileDone) -> Option<i32> {
    match &done.outcome {
        FileOutcome::Read(Err(error))
        | FileOutcome::Written(_, Err(error))
        | FileOutcome::Synced(Err(error))
        | FileOutcome::Opened(Err(error)) => error.raw_os_error(),
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn what_is_written_and_synced_is_read_back() {
    let mut ring = ring(4, 2, 1 << 10);
    let file = file();
    let bytes = pattern(3 << 20, 1);
    ring.write_file(1, file.clone(), 4096, buffer(bytes.clone()));
    ring.sync_file(2, file.clone());
    let done = over(&mut ring, 2);
    assert_eq!(done.iter().map(|done| done.ticket).collect::<Vec<_>>(), [1, 2]);
    let FileOutcome::Written(buffer, Ok(())) = &done[0].outcome else { panic!("{:?}", done[0]) };
    assert!(buffer[..] == bytes, "the buffer comes back");
    assert!(matches!(done[1].outcome, FileOutcome::Synced(Ok(()))));

    ring.read_file(3, file.clone(), 4096, bytes.len());
    ring.read_file(4, file.clone(), 4096 + 77, 1000);
    ring.read_file(5, file, 0, 0);
    let done: BTreeMap<_, _> =
        over(&mut ring, 3).iter().map(|done| (done.ticket, read(done))).collect();
    assert!(done[&3] == bytes);
    assert!(done[&4] == bytes[77..1077]);
    assert!(done[&5].is_empty());
    assert_eq!(ring.file_operations(), 0);
}

#[test]
fn a_file_that_ends_too_early_is_an_error() {
    let mut ring = ring(4, 2, 1 << 10);
    let file = file();
    ring.write_file(1, file.clone(), 0, buffer(vec![7; 1000]));
    over(&mut ring, 1);
    ring.read_file(2, file, 500, 501);
    let done = over(&mut ring, 1);
    let FileOutcome::Read(Err(error)) = &done[0].outcome else { panic!("{:?}", done[0]) };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn parts_are_put_together() {
    let mut ring = ring(4, 2, 1 << 10);
    // The kernel moves what fits the pipe, and then says to try again later.
    let (from, to) = pipe(libc::O_NONBLOCK);
    let bytes = pattern(1 << 20, 2);
    ring.write_file(1, to, 0, buffer(bytes.clone()));
    ring.read_file(2, from, 0, bytes.len());
    let done = over(&mut ring, 2);
    for done in done {
        match done.outcome {
            FileOutcome::Written(_, Ok(())) => assert_eq!(done.ticket, 1),
            FileOutcome::Read(Ok(got)) => assert!(got[..] == bytes && done.ticket == 2),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_sync_waits_for_the_writes_before_it_and_for_no_others() {
    let mut ring = ring(16, 2, 1 << 10);
    let (from, to) = pipe(0);
    // More than the pipe holds, so it takes until somebody reads.
    ring.write_file(1, to.clone(), 0, buffer(pattern(1 << 20, 3)));
    ring.sync_file(2, to.clone());
    let other = file();
    ring.sync_file(3, other);
    let done = over(&mut ring, 1);
    assert_eq!(done[0].ticket, 3, "another file's sync goes ahead");
    expect_silence(&mut ring, Duration::from_millis(50));
    assert!(ring.next_file_done().is_none());

    let reader = thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        (&*from).read_exact(&mut bytes).unwrap();
    });
    let done = over(&mut ring, 2);
    reader.join().unwrap();
    assert_eq!((done[0].ticket, done[1].ticket), (1, 2));
    assert!(matches!(&done[0].outcome, FileOutcome::Written(_, Ok(()))));
    assert_eq!(errno(&done[1]), Some(libc::EINVAL), "a pipe cannot be synced, but was asked to");
}

#[test]
fn a_sync_also_waits_for_writes_that_have_not_started() {
    let mut ring = ring(64, 2, 1 << 10);
    let (from, to) = pipe(0);
    for ticket in 0..FILE_TRANSFERS_MAX as u64 {
        ring.read_file(ticket, from.clone(), 0, 1);
    }
    let file = file();
    ring.write_file(100, file.clone(), 0, buffer(vec![1; 10]));
    ring.sync_file(101, file.clone());
    ring.write_file(102, file, 0, buffer(vec![2; 10]));
    expect_silence(&mut ring, Duration::from_millis(30));
    assert!(ring.next_file_done().is_none(), "nothing can be over");
    (&*to).write_all(&[9]).unwrap();
    let done = over(&mut ring, 4);
    let order: Vec<u64> = done.iter().map(|done| done.ticket).filter(|&it| it >= 100).collect();
    let place = |ticket| order.iter().position(|&it| it == ticket).unwrap();
    assert!(place(100) < place(101), "{order:?}");
    // One at a time: a read takes what there is of its page.
    for _ in 1..FILE_TRANSFERS_MAX {
        (&*to).write_all(&[9]).unwrap();
        over(&mut ring, 1);
    }
}

#[test]
fn only_so_many_are_in_the_kernel_and_all_come_back() {
    let mut ring = ring(8, 2, 1 << 10);
    let file = file();
    let bytes = pattern(100 << 10, 4);
    ring.write_file(0, file.clone(), 0, buffer(bytes.clone()));
    over(&mut ring, 1);
    for ticket in 0..1000_u64 {
        ring.read_file(ticket, file.clone(), ticket * 100, 100);
        if ticket % 10 == 0 {
            ring.sync_file(1000 + ticket, file.clone());
        }
        assert!(ring.files.slots.len() <= FILE_TRANSFERS_MAX + FILE_SYNCS_MAX);
    }
    let done = over(&mut ring, 1100);
    let mut tickets: Vec<u64> = done.iter().map(|done| done.ticket).collect();
    tickets.sort_unstable();
    assert!(tickets.into_iter().eq((0..1000).chain((1000..2000).step_by(10))));
    for done in done.iter().filter(|done| done.ticket < 1000) {
        let at = done.ticket as usize * 100;
        assert!(read(done) == bytes[at..at + 100], "read {}", done.ticket);
    }
}

#[test]
fn files_are_opened_by_their_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "text").unwrap();
    let c_path = |path: &std::path::Path| CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut ring = ring(4, 2, 1 << 10);
    ring.open_file(1, c_path(&path), libc::O_RDONLY);
    let FileOutcome::Opened(Ok(file)) = over(&mut ring, 1).remove(0).outcome else {
        panic!("not opened")
    };
    // SAFETY: the descriptor is open.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    let file = Arc::new(file);
    ring.read_file(2, file.clone(), 1, 3);
    assert_eq!(read(&over(&mut ring, 1)[0]), b"ext");
    ring.write_file(3, file, 0, buffer(vec![0; 1]));
    assert_eq!(errno(&over(&mut ring, 1)[0]), Some(libc::EBADF), "it was opened for reading");
    ring.open_file(4, c_path(&directory.path().join("nothing")), libc::O_RDONLY);
    assert_eq!(errno(&over(&mut ring, 1)[0]), Some(libc::ENOENT));
}

#[test]
fn a_ring_that_ends_waits_for_what_has_started() {
    let file = file();
    let bytes = pattern(4 << 20, 5);
    let mut ring = ring(8, 2, 1 << 10);
    ring.write_file(1, file.clone(), 0, buffer(bytes.clone()));
    drop(ring);
    let mut got = Vec::new();
    (&*file).read_to_end(&mut got).unwrap();
    assert!(got == bytes, "{} bytes of {} arrived", got.len(), bytes.len());
    assert_eq!(Arc::strong_count(&file), 1, "the ring has let go of the file");
}

#[test]
fn a_ring_that_cannot_wait_any_longer_leaves_the_buffer_to_the_kernel() {
    let (from, to) = pipe(0);
    let mut ring = ring(8, 2, 1 << 10);
    ring.read_file(1, from.clone(), 0, 1 << 20);
    ring.poll().unwrap();
    let start = Instant::now();
    drop(ring);
    assert!(start.elapsed() < Duration::from_secs(5), "it waited too long");
    assert!(Arc::strong_count(&from) > 1, "the kernel may still read from it");
    drop(to);
}
