//! How the process is: whether every worker turns, whether the data path takes files, whether it
//! drains, and what systemd is told of it.
//!
//! One value for all threads ([`Life`]). Workers look at it once a turn, which is one load as long
//! as nobody asks; `/readyz`, `/config/drain` and the main thread (`watch`) ask.

mod drain;
pub mod probe;
mod pulse;
pub mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flume::{Receiver, Sender};
use shards::shard::Shard;

use super::doorbell::Doorbell;
use drain::Drain;
pub use drain::Progress;
use probe::Probe;
use pulse::Pulse;
use watch::Event;

/// How long a worker and the data path may take to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The process's life, shared by all threads.
#[derive(Debug)]
pub struct Life {
    /// One for each worker.
    pulses: Vec<Pulse>,
    /// The last round of questions.
    round: AtomicU64,
    probe: Probe,
    drain: Drain,
    events: Sender<Event>,
    /// What is listened on, in words.
    listeners: Vec<String>,
}

/// A question to all workers and to the data path, under way.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    round: u64,
    probe: u64,
}

impl Life {
    /// The life of a process with these workers, the last of which accepts. What is to be done by
    /// the main thread comes out of the receiver.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub fn start(
        doorbells: &[Doorbell],
        directory: PathBuf,
        listeners: Vec<String>,
        drain_timeout: Duration,
    ) -> Result<(Arc<Life>, Receiver<Event>), String> {
        let (events, happened) = flume::unbounded();
        let life = Life {
            pulses: doorbells.iter().cloned().map(Pulse::new).collect(),
            round: AtomicU64::new(0),
            probe: Probe::start(directory)?,
            drain: Drain::new(drain_timeout),
            events,
            listeners,
        };
        Ok((Arc::new(life), happened))
    }

    /// Asks everybody how they are.
    pub fn ask(&self) -> Question {
        let question = Question { round: self.ask_workers(), probe: self.probe.ask() };
        self.ring();
        question
    }

    /// Whether all have answered.
    #[must_use]
    pub fn is_answered(&self, question: Question) -> bool {
        self.late(question.round).next().is_none() && self.probe.is_answered(question.probe)
    }

    /// What is wrong, as far as the answers to a question go; whoever has not answered is late.
    #[must_use]
    pub fn troubles(&self, question: Question) -> Vec<String> {
        let mut troubles: Vec<String> = self
            .late(question.round)
            .map(|worker| {
                format!("{} has not turned for {ANSWER_TIMEOUT:?}", self.worker_name(worker))
            })
            .collect();
        troubles.extend(self.probe.trouble(question.probe));
        if self.drain.is_on() {
            troubles.push("draining: no messages are taken in".to_owned());
        }
        troubles
    }

    /// What is listened on, in words.
    #[must_use]
    pub fn listeners(&self) -> &[String] {
        &self.listeners
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.pulses.len().saturating_sub(1)
    }

    /// Takes in no more messages from now on, and ends when nothing is left or the time is over.
    /// Draining already, it only sets the time, if there is one.
    pub fn drain(&self, timeout: Option<Duration>) {
        self.drain.begin(timeout, Instant::now());
        // The main thread has ended when nobody listens.
        let _ = self.events.send(Event::Drain);
        self.ask_workers();
        self.ring();
    }

    /// Whether it takes in no more messages.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_on()
    }

    /// How far draining has come; `None` while it does not drain.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let counted = self.pulses.iter().map(Pulse::remaining);
        self.drain.progress(counted, Instant::now())
    }

    /// A worker says, once a turn, that it turns; it hears whether it is to drain.
    pub fn beat(&self, worker: u16, shard: &mut Shard) {
        let Some(pulse) = self.pulses.get(usize::from(worker)) else { return };
        let Some(round) = pulse.asked() else { return };
        if self.drain.is_on() {
            shard.drain();
            pulse.count(shard.remaining());
        }
        pulse.answer(round);
    }

    /// Whether a worker is asked something. To be asked between falling asleep and sleeping.
    #[must_use]
    pub fn has_news(&self, worker: u16) -> bool {
        self.pulses.get(usize::from(worker)).is_some_and(|pulse| pulse.asked().is_some())
    }

    fn ask_workers(&self) -> u64 {
        let round = self.round.fetch_add(1, Ordering::AcqRel) + 1;
        self.pulses.iter().for_each(|pulse| pulse.ask(round));
        round
    }

    fn ring(&self) {
        self.pulses.iter().for_each(Pulse::ring);
    }

    /// Workers that have not answered.
    fn late(&self, round: u64) -> impl Iterator<Item = usize> {
        let pulses = self.pulses.iter().enumerate();
        pulses.filter(move |(_, pulse)| !pulse.has_answered(round)).map(|(worker, _)| worker)
    }

    fn worker_name(&self, worker: usize) -> String {
        match worker == self.shards() {
            true => "the thread that accepts connections".to_owned(),
            false => format!("shard {worker}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use flume::Receiver;
    use shards::limits::Options;
    use shards::placement::Placement;
    use shards::shard::{Now, Parts, Shard};

    use super::watch::Event;
    use super::{Life, Progress};
    use crate::nsqd::doorbell::Doorbell;

    fn shard() -> Shard {
        let parts = Parts {
            options: Options::default(),
            placement: Placement::new(0, 1, &[]),
            workers: 1,
            now: Now::default(),
            seed: 1,
            disk: false,
        };
        Shard::new(parts, Box::new(|| None))
    }

    fn life(directory: &std::path::Path) -> (Arc<Life>, Receiver<Event>) {
        let doorbells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let timeout = Duration::from_secs(60);
        Life::start(&doorbells, directory.to_owned(), Vec::new(), timeout).unwrap()
    }

    fn until_probed(life: &Life, question: super::Question) {
        let start = Instant::now();
        while !life.probe.is_answered(question.probe) {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_worker_that_does_not_turn_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (life, _events) = life(directory.path());
        let question = life.ask();
        until_probed(&life, question);
        let late = |who: &str| format!("{who} has not turned for 1s");
        assert_eq!(
            life.troubles(question),
            [late("shard 0"), late("the thread that accepts connections")]
        );
        assert!(life.has_news(0) && life.has_news(1) && !life.has_news(2));
        life.beat(1, &mut shard());
        assert!(!life.is_answered(question) && !life.has_news(1));
        assert_eq!(life.troubles(question), [late("shard 0")]);
        life.beat(0, &mut shard());
        assert!(life.is_answered(question));
        assert_eq!(life.troubles(question), Vec::<String>::new());
    }

    #[test]
    fn a_data_path_that_is_gone_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let (life, _events) = life(&directory.path().join("gone"));
        let question = life.ask();
        until_probed(&life, question);
        let troubles = life.troubles(question).join("\n");
        assert!(troubles.contains("cannot be written to: "), "{troubles}");
        assert!(troubles.contains("no such file or directory"), "{troubles}");
    }

    #[test]
    fn draining_reaches_every_worker_and_is_over_when_all_say_so() {
        let directory = tempfile::tempdir().unwrap();
        let (life, events) = life(directory.path());
        assert!(life.progress().is_none() && !life.is_draining());
        life.drain(None);
        assert!(matches!(events.try_recv(), Ok(Event::Drain)));
        let Some(Progress { counted, .. }) = life.progress() else { panic!("it drains") };
        assert!(!counted, "no worker has counted yet");
        let (mut first, mut second) = (shard(), shard());
        life.beat(0, &mut first);
        life.beat(1, &mut second);
        assert!(first.is_draining() && second.is_draining());
        let progress = life.progress().unwrap();
        assert!(progress.counted && progress.remaining.is_empty() && !progress.is_late);
        assert!(life.troubles(life.ask()).iter().any(|trouble| trouble.starts_with("draining")));
    }
}
