//! The disk of a shard with real files, a ring and the thread that makes files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use shards::disk::{Content, Opened, Place, Role};
use shards::journal::entry::{At, Run, run_end, run_start};
use shards::journal::file::{FILE_HEADER_BYTES, FileHeader};
use shards::journal::scan::{ReadAt, Scan};
use shards::wire::names::Name;

use super::limits::{IDLE_OPEN_FILES_MAX, JOURNAL_BYTES, SPARES_MAX};
use super::*;
use crate::nsqd::doorbell::Doorbell;
use crate::nsqd::ring::RingOptions;

/// Longest that any test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// One shard's disk and ring.
struct Shard {
    disk: Disk,
    ring: Ring,
}

impl Shard {
    /// Sleeps until there is an event.
    fn event(&mut self) -> DiskEvent {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "waited in vain");
            self.ring.events(|event| drop(event));
            if let Some(event) = self.disk.next_event(&mut self.ring) {
                return event;
            }
            self.ring.wait(Some(PATIENCE), || !self.disk.has_news()).unwrap();
        }
    }

    fn ask(&mut self, request: DiskRequest) -> DiskEvent {
        self.disk.submit(request, &mut self.ring);
        self.event()
    }

    fn open(&mut self, role: Role) -> Result<Opened, DiskError> {
        match self.ask(DiskRequest::Open { role, floor: 50 }) {
            DiskEvent::Opened(opened, result) if opened == role => result,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn read(&mut self, file: u32, offset: u32, bytes: u32) -> Result<Vec<u8>, DiskError> {
        let place = Place { file, offset, bytes };
        match self.ask(DiskRequest::Read { ticket: file, place }) {
            DiskEvent::Read { ticket, result } if ticket == file => {
                result.map(|bytes| bytes.to_vec())
            }
            other => panic!("not read: {other:?}"),
        }
    }

    fn release(&mut self, file: u32) {
        self.disk.submit(DiskRequest::Release(file), &mut self.ring);
        self.ring.events(|event| drop(event));
        assert!(self.disk.next_event(&mut self.ring).is_none());
    }
}

/// A process's worth of disks.
struct Process {
    folder: Arc<Folder>,
    files: Vec<listing::Found>,
    clerk: Clerk,
    desks: Vec<(FileDesk, Doorbell)>,
}

impl Process {
    fn start(data_path: &Path, shards: usize, overwrite: bool) -> Process {
        let listing::Listing { folder, files } = listing::open(data_path).unwrap();
        let doorbells: Vec<_> = (0..shards).map(|_| Doorbell::new().unwrap()).collect();
        let (clerk, desks) = Clerk::start(folder.clone(), overwrite, &doorbells).unwrap();
        let mut desks: Vec<_> = desks.into_iter().zip(doorbells).collect();
        desks.reverse();
        Process { folder, files, clerk, desks }
    }

    /// The next shard, from the first on.
    fn shard(&mut self, shared: Vec<Shared>) -> Shard {
        let (desk, doorbell) = self.desks.pop().unwrap();
        let disk = Disk::new(self.folder.clone(), desk, shared);
        let options = RingOptions { entries: 16, buffers: 2, buffer_bytes: 1 << 10 };
        Shard { disk, ring: Ring::new(&options, doorbell).unwrap() }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn the_first_journal_file_is_there_before_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 2, false);
    let deadline = Instant::now() + Duration::from_secs(20);
    process.desks.iter_mut().for_each(|(desk, _)| desk.order_first());
    // One is waited for; the other comes when it comes.
    process.desks[1].0.wait_for_first(deadline);
    let (mut waited, mut other) = (process.shard(Vec::new()), process.shard(Vec::new()));
    assert!(process.names().contains(&names::of_file(2, Role::Journal)));
    for (shard, number) in [(&mut waited, 2), (&mut other, 1)] {
        assert!(shard.disk.next_event(&mut shard.ring).is_none(), "nothing was asked for yet");
        assert_eq!(shard.open(Role::Journal).unwrap().number, number);
        shard.disk.append(number, 4096, [&b"x"[..]]).unwrap();
    }
    assert_eq!(process.names().len(), 2);
    assert_eq!(waited.open(Role::Journal).unwrap().number, 3);
    assert_eq!(other.open(Role::Store).unwrap().number, 4);
}

#[test]
fn a_journal_is_appended_to_synced_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, true);
    let mut shard = process.shard(Vec::new());
    let opened = shard.open(Role::Journal).unwrap();
    assert_eq!(opened.number, 1);
    let (first, second) = (pattern(5000, 1), pattern(300, 2));
    shard.disk.append(1, 4096, [&first[..], &second[..100], &second[100..]]).unwrap();
    let event = shard.ask(DiskRequest::Sync { ticket: 9, file: 1 });
    assert!(matches!(event, DiskEvent::Synced { ticket: 9, result: Ok(()) }), "{event:?}");
    assert_eq!(shard.read(1, 4096 + 4000, 1300).unwrap(), [&first[4000..], &second].concat());

    let metrics = shard.disk.metrics();
    assert_eq!((metrics.append_times.count(), metrics.append_bytes), (1, 5300));
    assert_eq!((metrics.reads, metrics.read_bytes), (1, 1300));
    assert_eq!((metrics.syncs.count(), metrics.errors, metrics.files), (1, 0, 1));
    assert!(!metrics.append_times.max().is_zero() && !metrics.syncs.max().is_zero());
    assert_eq!(metrics.syncs.sum(), metrics.syncs.max());
    let header = FileHeader::decode(&shard.read(1, 0, 4096).unwrap()).unwrap();
    assert_eq!((header.nonce, header.generation, header.shard), (opened.nonce, 1, 0));
    assert_eq!(header.sequence_floor, 50);
    assert!(!shard.disk.is_busy(&shard.ring));
}

#[test]
fn a_write_gives_its_buffer_back_and_a_sync_comes_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let mut shard = process.shard(Vec::new());
    let file = shard.open(Role::Store).unwrap().number;
    let bytes = pattern(1 << 20, 3);
    let write = DiskRequest::Write { ticket: 1, file, offset: 4096, content: pages(&bytes) };
    shard.disk.submit(write, &mut shard.ring);
    shard.disk.submit(DiskRequest::Sync { ticket: 2, file }, &mut shard.ring);
    assert!(shard.disk.is_busy(&shard.ring));
    let event = shard.event();
    let DiskEvent::Written { ticket: 1, content: back, result: Ok(()) } = event else {
        panic!("{event:?}")
    };
    assert!(back[..] == bytes);
    let event = shard.event();
    assert!(matches!(event, DiskEvent::Synced { ticket: 2, result: Ok(()) }), "{event:?}");
    assert!(shard.read(file, 4096, 1 << 20).unwrap() == bytes);
    let metrics = shard.disk.metrics();
    assert_eq!((metrics.writes, metrics.write_bytes), (1, 1 << 20));
}

/// As a shard has it written.
fn pages(bytes: &[u8]) -> Content {
    let mut pages = PageBuffer::default();
    pages.refill(bytes.len(), |out| out.extend_from_slice(bytes));
    pages.into()
}

#[test]
fn a_store_is_read_from_anywhere_and_when_it_was_closed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let mut shard = process.shard(Vec::new());
    let file = shard.open(Role::Store).unwrap().number;
    let bytes = pattern(300 << 10, 9);
    let write = DiskRequest::Write { ticket: 1, file, offset: 4096, content: pages(&bytes) };
    assert!(matches!(shard.ask(write), DiskEvent::Written { result: Ok(()), .. }));
    for _ in 0..2 {
        for (from, length) in [(0, 1), (1, 4095), (4095, 2), (4096, 4096), (77, 200_000)] {
            let expected = &bytes[from..from + length];
            assert!(shard.read(file, 4096 + from as u32, length as u32).unwrap() == expected);
        }
        let known = shard.disk.files.get_mut(file).unwrap();
        known.access = Access::Closed;
    }
}

/// A run of one record, which is no good record; scans do not look at it.
fn run_entry(nonce: u64, offset: u32, sequence: u64) -> Vec<u8> {
    let topic = Name::parse(b"topic").unwrap();
    let run = Run { topic, count: 1, first: sequence, last: sequence, bytes: 64, deferred: false };
    let mut bytes = Vec::new();
    let at = At { nonce, offset: u64::from(offset) };
    run_start(&mut bytes, at, &run);
    bytes.extend_from_slice(&[7; 64]);
    run_end(&mut bytes, at, &run);
    bytes
}

/// How many entries a file has.
fn entries(path: &Path) -> usize {
    let reader = FileReader::open(path).unwrap();
    let mut start = [0; FILE_HEADER_BYTES];
    assert_eq!(reader.read_at(0, &mut start).unwrap(), start.len());
    let header = FileHeader::decode(&start).unwrap();
    Scan::new(&reader, &header).count()
}

#[test]
fn a_released_journal_is_used_again_and_nothing_old_is_found_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let mut shard = process.shard(Vec::new());
    let first = shard.open(Role::Journal).unwrap();
    let path = process.folder.path_of(1, Role::Journal);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let used = inode(&path);
    let mut at = FILE_HEADER_BYTES as u32;
    for sequence in 1..=3 {
        let entry = run_entry(first.nonce, at, sequence);
        shard.disk.append(1, at, [&entry[..]]).unwrap();
        at += entry.len() as u32;
    }
    assert_eq!(entries(&path), 3);
    shard.release(1);
    assert_eq!(shard.disk.metrics().files, 0);
    let second = shard.open(Role::Journal).unwrap();
    assert_eq!(second.number, 2);
    assert_ne!(second.nonce, first.nonce);
    assert_eq!(process.names(), ["0000000002.journal"]);
    let path = process.folder.path_of(2, Role::Journal);
    assert_eq!(inode(&path), used, "it is the same file");
    assert_eq!(fs::metadata(&path).unwrap().len(), JOURNAL_BYTES);
    assert_eq!(entries(&path), 0);
    // An entry in front does not make those behind it good again.
    let entry = run_entry(second.nonce, FILE_HEADER_BYTES as u32, 9);
    shard.disk.append(2, FILE_HEADER_BYTES as u32, [&entry[..]]).unwrap();
    assert_eq!(entries(&path), 1);
}

#[test]
fn few_spares_are_kept_and_none_survive_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let mut shard = process.shard(Vec::new());
    let numbers: Vec<u32> =
        (0..SPARES_MAX as u32 + 3).map(|_| shard.open(Role::Journal).unwrap().number).collect();
    // One has grown: it is not used again.
    shard.disk.append(1, JOURNAL_BYTES as u32, [&b"x"[..]]).unwrap();
    let store = shard.open(Role::Store).unwrap().number;
    numbers.into_iter().chain([store]).for_each(|file| shard.release(file));
    // The last that was kept is used first.
    let last_kept = SPARES_MAX as u32 + 1;
    let opened = shard.open(Role::Journal).unwrap();
    let kept: Vec<_> = (2..last_kept).map(names::of_spare).collect();
    let mut expected = kept.clone();
    expected.push(names::of_file(opened.number, Role::Journal));
    assert_eq!(process.names(), expected);
    let folder = process.folder.clone();
    process.clerk.stop();
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [names::of_file(opened.number, Role::Journal).as_str()]);
}

/// Writes store files, as recovery does, and returns their numbers.
fn blocks(process: &Process, count: u32) -> Vec<u32> {
    let mut writer = BlockWriter::new(process.folder.clone(), 1);
    for sequence in 1..=u64::from(count) {
        let topic = Name::parse(b"topic").unwrap();
        let run =
            Run { topic, count: 1, first: sequence, last: sequence, bytes: 64, deferred: false };
        writer.write(&run, &[sequence as u8; 64]).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn hundreds_of_files_are_read_with_few_open() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let numbers = blocks(&process, 150);
    let hold = |&number: &u32| process.clerk.share(number, Role::Store);
    let shared: Vec<_> = numbers.iter().map(hold).collect();
    let mut shard = process.shard(shared);
    let journal = shard.open(Role::Journal).unwrap().number;
    let records_at = FILE_HEADER_BYTES as u32 + 32 + 8;
    for round in 0..2 {
        for &number in &numbers {
            let place = Place { file: number, offset: records_at, bytes: 64 };
            shard.disk.submit(DiskRequest::Read { ticket: number, place }, &mut shard.ring);
        }
        let mut answered = BTreeSet::new();
        while answered.len() < numbers.len() {
            let DiskEvent::Read { ticket, result } = shard.event() else { panic!("not read") };
            assert_eq!(result.unwrap()[..], [ticket as u8; 64], "round {round}");
            assert!(answered.insert(ticket));
        }
        // One more use closes what the last ones kept open.
        let other = shard.open(Role::Store).unwrap().number;
        shard.release(other);
        let open = numbers
            .iter()
            .filter(|&&number| {
                matches!(shard.disk.files.get(number).unwrap().access, Access::Open(_))
            })
            .count();
        assert!(open <= IDLE_OPEN_FILES_MAX, "{open} files are open");
        assert!(open > IDLE_OPEN_FILES_MAX / 2, "only {open} files are kept open");
    }
    assert!(matches!(shard.disk.files.get(journal).unwrap().access, Access::Open(_)));
    assert_eq!(shard.disk.metrics().files, 151);
}

#[test]
fn who_is_last_to_release_a_shared_file_removes_it() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path(), 1, false);
    assert_eq!(blocks(&process, 3), [1, 2, 3]);
    process.clerk.stop();

    let mut process = Process::start(directory.path(), 2, false);
    assert_eq!(process.folder.generation(), 2);
    let numbers: Vec<u32> = process.files.iter().map(|found| found.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let holds: Vec<_> = numbers.iter().map(|&it| process.clerk.share(it, Role::Store)).collect();
    let both = || holds[..2].iter().map(Shared::another).collect();
    let (shared_0, shared_1) = (both(), both());
    let mut shard_0 = process.shard(shared_0);
    let mut shard_1 = process.shard(shared_1);
    // Nobody needs 3; 1 is released by one shard, 2 by both; 1 is read while it goes.
    holds.into_iter().for_each(Shared::release);
    shard_0.release(1);
    shard_0.release(2);
    let place = Place { file: 2, offset: 0, bytes: 4096 };
    shard_1.disk.submit(DiskRequest::Read { ticket: 1, place }, &mut shard_1.ring);
    shard_1.disk.submit(DiskRequest::Release(2), &mut shard_1.ring);
    let event = shard_1.event();
    assert!(matches!(event, DiskEvent::Read { ticket: 1, result: Ok(_) }), "{event:?}");
    assert!(shard_1.disk.next_event(&mut shard_1.ring).is_none());
    // The thread has carried out everything when it has made a file.
    let own = shard_1.open(Role::Store).unwrap().number;
    assert_eq!(own, 4, "numbers go on");
    assert_eq!(process.names(), ["0000000001.store", "0000000004.store"]);
    assert!(shard_1.read(1, 0, 100).is_ok());
    assert_eq!(shard_1.read(2, 0, 100).unwrap_err().text, "open file 2: no such file or directory");
    // The end of the process releases nothing.
    drop((shard_0, shard_1));
    process.clerk.stop();
    let files = listing::open(directory.path()).unwrap().files;
    assert_eq!(files.iter().map(|found| found.number).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn errors_name_the_file_and_the_disk_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let numbers = blocks(&process, 1);
    let shared = vec![process.clerk.share(numbers[0], Role::Store)];
    let mut shard = process.shard(shared);
    let store = shard.open(Role::Store).unwrap().number;
    let error = shard.read(store, 4000, 200).unwrap_err();
    assert_eq!(error.text, "read 0000000002.store: unexpected end of file");
    let error = shard.disk.append(77, 0, [&b"x"[..]]).unwrap_err();
    assert_eq!(error.text, "append file 77: bad file descriptor");
    fs::remove_file(process.folder.path_of(1, Role::Store)).unwrap();
    for number in [1, 5] {
        let write =
            DiskRequest::Write { ticket: 3, file: number, offset: 0, content: pages(&[1; 9]) };
        let DiskEvent::Written { ticket: 3, content, result: Err(error) } = shard.ask(write) else {
            panic!("written to nowhere")
        };
        assert_eq!(content[..9], [1; 9], "the buffer comes back");
        assert!(error.text.starts_with("open ") && !error.full, "{}", error.text);
        let event = shard.ask(DiskRequest::Sync { ticket: 4, file: number });
        assert!(matches!(event, DiskEvent::Synced { ticket: 4, result: Err(_) }), "{event:?}");
    }
    assert_eq!(shard.disk.metrics().errors, 6);
    shard.release(5);
    assert_eq!(shard.read(store, 0, 4096).unwrap().len(), 4096);
}

#[test]
fn a_full_disk_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    // A journal that is the device which is always full.
    let mut shard = process.shard(Vec::new());
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    shard.disk.files.insert_own(9, Role::Journal, full);
    let error = shard.disk.append(9, 0, [&b"x"[..]]).unwrap_err();
    assert!(error.full);
    assert_eq!(error.text, "append 0000000009.journal: no space left on device");
    let write = DiskRequest::Write { ticket: 1, file: 9, offset: 0, content: pages(&[0; 10]) };
    let DiskEvent::Written { result: Err(error), .. } = shard.ask(write) else { panic!("written") };
    assert!(error.full, "{}", error.text);
}

#[test]
fn a_file_that_cannot_be_made_is_an_answer_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), 1, false);
    let mut shard = process.shard(Vec::new());
    fs::remove_dir(process.folder.path()).unwrap();
    let error = shard.open(Role::Journal).unwrap_err();
    assert_eq!(error.text, "create 0000000001.spare: no such file or directory");
    fs::create_dir(process.folder.path()).unwrap();
    assert_eq!(shard.open(Role::Journal).unwrap().number, 2);
    assert_eq!(shard.disk.metrics().errors, 1);
}
