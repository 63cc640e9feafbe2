//! Keeps `nsqd.dat` up to date on a thread of its own, so that no shard waits for a disk.
//!
//! Each worker reports what changed on its shard, at the end of a turn and one report at a time:
//! the next one comes when the last is settled, which is when it was written, or was tried to be.
//! So everything that changes during a write goes into the next one, and however much changes,
//! the queue holds one report per worker. After a write the thread rests, longer when writing
//! takes long; after one that failed it tries again by itself.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};
use shards::metadata::MetadataChanges;
use shards::shard::Shard;

use super::file::MetadataFile;
use super::{Topics, text};
use crate::log;
use crate::nsqd::doorbell::Doorbell;

/// The least time from one write to the next. A change after a quiet time is written at once.
const REST_MIN: Duration = Duration::from_millis(10);
/// The rest, in times of what the write took: a large file or a slow disk is not kept busy.
const REST_PER_WRITE: u32 = 4;
/// The least time after a write that failed, also for new changes.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long it waits, in the end, before it tries again what failed when nothing new changes.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long the end of the process waits for the last write.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the thread is told.
#[derive(Debug)]
enum Note {
    /// This worker's shard has changed.
    Changed(usize, MetadataChanges),
    /// The workers have stopped.
    Stop,
}

/// The thread, as the main thread sees it.
#[derive(Debug)]
pub struct Keeper {
    notes: Sender<Note>,
    finished: Receiver<()>,
}

impl Keeper {
    /// Starts the thread with what the file says now, and gives each worker, in the order of the
    /// doorbells, what it reports through.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(
        file: MetadataFile,
        topics: Topics,
        doorbells: &[Doorbell],
    ) -> io::Result<(Keeper, Vec<Reporter>)> {
        let (notes, noted) = flume::unbounded();
        let (finish, finished) = flume::bounded(1);
        let settled = || Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = doorbells
            .iter()
            .map(|doorbell| ToWorker { settled: settled(), doorbell: doorbell.clone() })
            .collect();
        let reporter = |(worker, to_worker): (usize, &ToWorker)| Reporter {
            worker,
            notes: notes.clone(),
            settled: to_worker.settled.clone(),
            sent: 0,
            heard: 0,
        };
        let reporters = workers.iter().enumerate().map(reporter).collect();
        let writer = Writer {
            file,
            topics,
            notes: noted,
            workers,
            unsettled: Vec::new(),
            pace: Pace::new(Instant::now()),
        };
        thread::Builder::new().name("metadata".to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                log::fatal("nsqd", "the thread that writes nsqd.dat panicked");
                std::process::exit(1);
            }
            // Nobody listens any more when the process is ending anyway.
            let _ = finish.send(());
        })?;
        Ok((Keeper { notes, finished }, reporters))
    }

    /// Writes for the last time. The workers must have stopped.
    pub fn stop(self) {
        // The thread only ends when it is told to.
        let _ = self.notes.send(Note::Stop);
        if self.finished.recv_timeout(STOP_TIMEOUT).is_err() {
            tracing::warn!("the last write of nsqd.dat did not end in time");
        }
    }
}

/// A worker's way to the thread.
#[derive(Debug)]
pub struct Reporter {
    worker: usize,
    notes: Sender<Note>,
    /// The version up to which reports are settled; the thread writes it, and rings.
    settled: Arc<AtomicU64>,
    /// The version of the last report.
    sent: u64,
    /// The settled version that the shard was told.
    heard: u64,
}

impl Reporter {
    /// Whether the shard is to be told something. To be asked between falling asleep and sleeping,
    /// as with a mailbox.
    pub fn has_news(&self) -> bool {
        self.heard != self.sent && self.settled.load(Ordering::Acquire) != self.heard
    }

    /// Tells the shard what is settled.
    pub fn hear(&mut self, shard: &mut Shard) {
        if self.has_news() {
            self.heard = self.settled.load(Ordering::Acquire);
            shard.metadata_settled(self.heard);
        }
    }

    /// Reports what changed on the shard, unless a report is under way.
    pub fn report(&mut self, shard: &mut Shard) {
        if self.heard == self.sent {
            self.report_last(shard);
        }
    }

    /// Reports what changed on the shard, whatever is under way: nothing comes after it.
    pub fn report_last(&mut self, shard: &mut Shard) {
        if let Some(changes) = shard.take_metadata_changes() {
            self.sent = changes.version;
            // The thread outlives the workers, or the process is ending.
            let _ = self.notes.send(Note::Changed(self.worker, changes));
        }
    }
}

/// The thread's way to a worker.
struct ToWorker {
    settled: Arc<AtomicU64>,
    doorbell: Doorbell,
}

/// The thread.
struct Writer {
    file: MetadataFile,
    /// All shards' topics.
    topics: Topics,
    notes: Receiver<Note>,
    workers: Vec<ToWorker>,
    /// Reports since the last write: workers and versions.
    unsettled: Vec<(usize, u64)>,
    pace: Pace,
}

impl Writer {
    fn run(mut self) {
        while self.gather() {
            self.write();
        }
        self.write();
    }

    /// Takes in reports until it is time to write. False when there will be no more.
    fn gather(&mut self) -> bool {
        let mut due = self.pace.retry;
        loop {
            let note = match due {
                None => self.notes.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.notes.recv_deadline(due),
            };
            match note {
                Ok(Note::Changed(worker, changes)) => {
                    self.merge(worker, changes);
                    due = due.into_iter().chain([self.pace.rested]).min();
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Note::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn merge(&mut self, worker: usize, changes: MetadataChanges) {
        for (name, topic) in changes.topics {
            match topic {
                Some(topic) => self.topics.insert(name, topic),
                None => self.topics.remove(&name),
            };
        }
        self.unsettled.push((worker, changes.version));
    }

    /// Writes the file, and tells the workers that it was done, or tried: what waits for it must
    /// not wait for a disk that is full.
    fn write(&mut self) {
        tracing::info!("NSQ: persisting topic/channel metadata to {}", self.file.path().display());
        let began = Instant::now();
        let written = self.file.write(&text(&self.topics));
        if let Err(problem) = &written {
            tracing::error!("failed to persist metadata - {problem}");
        }
        self.pace.written(written.is_ok(), began, Instant::now());
        for (worker, version) in self.unsettled.drain(..) {
            let ToWorker { settled, doorbell } = &self.workers[worker];
            settled.store(version, Ordering::Release);
            doorbell.ring();
        }
    }
}

/// When to write.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    /// Not before.
    rested: Instant,
    /// Then at the latest, because the last write failed.
    retry: Option<Instant>,
    /// How long it waited for that.
    retry_pause: Duration,
}

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace { rested: now, retry: None, retry_pause: Duration::ZERO }
    }

    /// A write ended.
    fn written(&mut self, succeeded: bool, began: Instant, now: Instant) {
        if succeeded {
            let rest = REST_MIN.max(now.duration_since(began) * REST_PER_WRITE);
            *self = Pace { rested: now + rest, ..Pace::new(now) };
            return;
        }
        self.retry_pause = (self.retry_pause * 2).clamp(REST_AFTER_FAILURE, RETRY_MAX);
        self.rested = now + REST_AFTER_FAILURE;
        self.retry = Some(now + self.retry_pause);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Pace, REST_MIN};

    #[test]
    fn a_slow_disk_is_not_kept_busy() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!((pace.rested, pace.retry), (start, None));
        pace.written(true, start, start);
        assert_eq!((pace.rested, pace.retry), (start + REST_MIN, None));
        let end = start + Duration::from_secs(1);
        pace.written(true, start, end);
        assert_eq!((pace.rested, pace.retry), (end + Duration::from_secs(4), None));
    }

    #[test]
    fn what_failed_is_tried_again_ever_more_rarely() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for wait_s in [1, 2, 4, 8, 16, 30, 30] {
            pace.written(false, now, now);
            assert_eq!(pace.rested, now + Duration::from_secs(1));
            assert_eq!(pace.retry, Some(now + Duration::from_secs(wait_s)));
        }
        pace.written(true, now, now);
        assert_eq!(pace.retry, None);
        pace.written(false, now, now);
        assert_eq!(pace.retry, Some(now + Duration::from_secs(1)));
    }
}
