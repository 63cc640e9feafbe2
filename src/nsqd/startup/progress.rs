//! How far a start has come: for who asks over HTTP before there is a shard, for the log, and for
//! systemd, which gives it more time as long as it goes on.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::memory::size_text;
use crate::systemd;

/// The time between two lines in the log, and before the first.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a start may be silent from then on, as far as systemd goes. A disk may take a while for
/// one read.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What a start is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// What the original left is taken over.
    TakingOver,
    /// Files are read.
    Reading,
    /// Files to write to are made, threads are started.
    Preparing,
    /// Everything is there.
    Done,
}

impl Step {
    /// Its name, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::TakingOver => "taking over",
            Step::Reading => "reading",
            Step::Preparing => "preparing",
            Step::Done => "done",
        }
    }
}

/// Written by the main thread, read by any.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    step: AtomicU8,
    done_bytes: AtomicU64,
    all_bytes: AtomicU64,
    /// How long it took, once it is done.
    took_ns: AtomicU64,
    told: Mutex<Instant>,
}

impl Default for Progress {
    fn default() -> Progress {
        let now = Instant::now();
        Progress {
            began: now,
            step: AtomicU8::new(Step::TakingOver as u8),
            done_bytes: AtomicU64::new(0),
            all_bytes: AtomicU64::new(0),
            took_ns: AtomicU64::new(0),
            told: Mutex::new(now),
        }
    }
}

impl Progress {
    /// The next step begins. Its bytes count from 0; reading's stay when it is over.
    pub fn enter(&self, step: Step) {
        if matches!(step, Step::TakingOver | Step::Reading) {
            self.set(0, 0);
        }
        self.step.store(step as u8, Ordering::Release);
        systemd::extend(SILENCE_MAX, &self.text());
    }

    /// So many bytes of the step are done, of so many. Says so in the log and to systemd, once a
    /// second.
    pub fn at(&self, done_bytes: u64, all_bytes: u64) {
        if self.note(done_bytes, all_bytes) {
            tracing::info!("RECOVERY: {} of {} MiB", done_bytes >> 20, all_bytes >> 20);
        }
    }

    /// The same without the log. Whether it is time for a line there.
    pub fn note(&self, done_bytes: u64, all_bytes: u64) -> bool {
        self.set(done_bytes, all_bytes);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.elapsed() >= PAUSE;
        if due {
            *told = Instant::now();
            systemd::extend(SILENCE_MAX, &self.text());
        }
        due
    }

    /// It is over.
    pub fn end(&self) {
        let took_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.took_ns.store(took_ns, Ordering::Relaxed);
        self.step.store(Step::Done as u8, Ordering::Release);
    }

    /// What it is at.
    #[must_use]
    pub fn step(&self) -> Step {
        let step = self.step.load(Ordering::Acquire);
        let found = [Step::TakingOver, Step::Reading, Step::Preparing];
        found.into_iter().find(|of| *of as u8 == step).unwrap_or(Step::Done)
    }

    /// Bytes of this step that are done, and all of them.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.done_bytes.load(Ordering::Relaxed), self.all_bytes.load(Ordering::Relaxed))
    }

    /// How long it has taken so far, or took.
    #[must_use]
    pub fn took(&self) -> Duration {
        match self.step() {
            Step::Done => Duration::from_nanos(self.took_ns.load(Ordering::Relaxed)),
            _ => self.began.elapsed(),
        }
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        let (done, all) = self.bytes();
        let (done, all) = (size_text(done), size_text(all));
        match self.step() {
            Step::TakingOver if all == size_text(0) => "recovering".to_owned(),
            Step::TakingOver => {
                format!("recovering: {done} of {all} of the original nsqd are taken over")
            }
            Step::Reading => format!("recovering: {done} of {all} done"),
            Step::Preparing => format!("recovering: {all} done, shards are being started"),
            Step::Done => "recovered: a new connection is served".to_owned(),
        }
    }

    fn set(&self, done_bytes: u64, all_bytes: u64) {
        self.all_bytes.store(all_bytes, Ordering::Relaxed);
        self.done_bytes.store(done_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Step};
    use std::time::Duration;

    #[test]
    fn each_step_tells_how_far_it_is() {
        let progress = Progress::default();
        assert_eq!((progress.step(), progress.text()), (Step::TakingOver, "recovering".into()));
        progress.note(1 << 20, 4 << 20);
        let text = "recovering: 1 MiB of 4 MiB of the original nsqd are taken over";
        assert_eq!(progress.text(), text);
        progress.enter(Step::Reading);
        assert_eq!(progress.bytes(), (0, 0));
        progress.at(1 << 20, 3 << 20);
        assert_eq!(progress.text(), "recovering: 1 MiB of 3 MiB done");
        progress.enter(Step::Preparing);
        assert_eq!(progress.bytes(), (1 << 20, 3 << 20));
        progress.end();
        assert_eq!((progress.step(), progress.step().name()), (Step::Done, "done"));
        let took = progress.took();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(progress.took(), took, "it is over");
    }
}
