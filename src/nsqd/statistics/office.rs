//! The thread that asks all workers and writes the pages.
//!
//! It does one thing at a time, on no core in particular. A worker that does not answer in time is
//! left out where that can be said (`/metrics`), and is an error where it cannot (`/stats`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, Sender};
use shards::stats::{Bookmark, ShardGauges, ShardStats, StatsQuery};
use shards::upgrade::Room;

use super::metrics;
use super::outpost::{self, End, Errand, Order, Outpost, Question, Told, Word, WorkerNumbers};
use super::page::{BesideMetrics, Page, Wanted};
use crate::http::respond::Failure;
use crate::log;
use crate::nsqd::control::Survey;
use crate::nsqd::doorbell::Doorbell;
use crate::nsqd::http::facts::Facts;
use crate::nsqd::http::memory::{self, MemoryStats};
use crate::nsqd::http::stats::{self, Report};

/// How long all shards may be silent while numbers are missing: without them an answer would be
/// wrong.
pub const SHARD_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long they may take to say all of them.
const GATHER_MAX: Duration = Duration::from_secs(5);
/// Orders that wait; others are refused.
pub const ERRANDS_MAX: usize = 64;
/// How long an order may wait: after that whoever gave it has lost patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process waits for this thread.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Where the office finds what no worker knows.
pub struct Sources {
    /// What HTTP tells about the process.
    pub facts: Arc<Facts>,
    /// The percentiles of processing times, in the order in which they are shown.
    pub percentiles: Vec<f64>,
    /// The data path.
    pub data_path: PathBuf,
    /// How many series `/metrics` may have.
    pub series_max: usize,
    /// Whether numbers have their older names, too.
    pub legacy_names: bool,
    /// Memory for compressed connections: what is left, and how much there is.
    pub compression: (Room, usize),
    /// Asks about nsqlookupds.
    pub survey: Survey,
    /// What else runs in the process, as metrics.
    pub beside: Option<BesideMetrics>,
}

/// The topics of all shards at one moment, for a statsd.
#[derive(Debug, Default)]
pub struct Totals {
    /// All topics, without clients.
    pub stats: ShardStats,
    /// The process's memory.
    pub memory: MemoryStats,
}

/// What one worker said.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerReport {
    /// Its shard.
    pub gauges: ShardGauges,
    /// Its connections.
    pub load: shards::stats::ClientLoad,
    /// Itself.
    pub numbers: WorkerNumbers,
}

/// What all workers said.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Topics and clients of all shards, in order.
    pub stats: ShardStats,
    /// Each worker, unless it did not answer in time.
    pub workers: Vec<Option<WorkerReport>>,
    /// How long that took.
    pub took: Duration,
    /// In how many parts they said it.
    pub parts: u64,
}

impl Gathered {
    /// Workers that did not answer.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_none()).count()
    }

    /// What the process takes: what the allocator knows of, and messages, of which it does not.
    #[must_use]
    pub fn memory(&self) -> MemoryStats {
        let mut memory = memory::read();
        for WorkerReport { gauges, .. } in self.workers.iter().flatten() {
            let used = gauges.memory_bytes - gauges.index_bytes;
            memory.heap_in_use_bytes += used;
            memory.heap_idle_bytes += gauges.memory_reserved_bytes.saturating_sub(used);
        }
        memory
    }
}

/// The thread, as the main thread sees it.
#[derive(Debug)]
pub struct Office {
    errands: Sender<Errand>,
    finished: Receiver<()>,
}

impl Office {
    /// Starts the thread, and gives each worker, in the order of the doorbells, its outpost.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(sources: Sources, doorbells: &[Doorbell]) -> io::Result<(Office, Vec<Outpost>)> {
        let (errands, ordered) = flume::bounded(ERRANDS_MAX);
        let (clerk, outposts) = Clerk::new(sources, doorbells, &errands);
        let (finish, finished) = flume::bounded(1);
        thread::Builder::new().name("statistics".to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| clerk.run(&ordered))).is_err() {
                log::fatal("nsqd", "the thread that gathers statistics panicked");
                std::process::exit(1);
            }
            // Nobody listens any more when the process is ending anyway.
            let _ = finish.send(());
        })?;
        Ok((Office { errands, finished }, outposts))
    }

    /// Where totals are ordered.
    #[must_use]
    pub fn errands(&self) -> Sender<Errand> {
        self.errands.clone()
    }

    /// Ends the thread; the workers must have ended.
    pub fn stop(self) {
        let Office { errands, finished } = self;
        drop(errands);
        if finished.recv_timeout(STOP_PATIENCE).is_err() {
            tracing::warn!("the thread statistics did not stop in time");
        }
    }
}

/// The thread.
struct Clerk {
    sources: Sources,
    ends: Vec<End>,
    told: Receiver<Told>,
    serial: u64,
    metrics: metrics::Memory,
}

impl Clerk {
    fn new(
        sources: Sources,
        doorbells: &[Doorbell],
        errands: &Sender<Errand>,
    ) -> (Clerk, Vec<Outpost>) {
        let (tell, told) = flume::unbounded();
        let pair = |(worker, doorbell)| outpost::pair(worker, doorbell, &tell, errands);
        let (outposts, ends) = doorbells.iter().enumerate().map(pair).unzip();
        (Clerk { sources, ends, told, serial: 0, metrics: metrics::Memory::default() }, outposts)
    }

    /// Works until nobody can order anything any more.
    fn run(mut self, errands: &Receiver<Errand>) {
        while let Ok(errand) = errands.recv() {
            match errand {
                Errand::Page(Order { worker, ticket, wanted, at }) => {
                    self.metrics.orders_waiting = errands.len() as u64;
                    let page = match at.elapsed() > PATIENCE {
                        true => Page::too_busy(),
                        false => self.page(&wanted),
                    };
                    self.ends[worker].say(Word::Page(ticket, page));
                }
                Errand::Totals(reply) => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.totals());
                }
            }
        }
    }

    fn page(&mut self, wanted: &Wanted) -> Page {
        match wanted {
            Wanted::Stats { query, memory, json } => self.stats(query, *memory, *json),
            Wanted::Metrics(detail) => {
                let without_clients = !detail.clients;
                let query = StatsQuery { without_clients, ..StatsQuery::default() };
                let gathered = self.gather(&query);
                match self.metrics.page(&gathered, &self.sources, *detail) {
                    Ok(text) => Page::Metrics(text),
                    Err(error) => {
                        tracing::error!("failed to encode metrics - {error}");
                        Page::Failed(Failure::internal())
                    }
                }
            }
        }
    }

    fn stats(&mut self, query: &StatsQuery, with_memory: bool, json: bool) -> Page {
        let gathered = self.gather(query);
        if gathered.missing() > 0 {
            return Page::Failed(Failure::internal());
        }
        let memory = with_memory.then(|| gathered.memory());
        let report = Report::new(gathered.stats, query, memory);
        stats::render(&self.sources.facts, &self.sources.percentiles, &report, json)
    }

    fn totals(&mut self) -> Option<Totals> {
        let query = StatsQuery { without_clients: true, ..StatsQuery::default() };
        let gathered = self.gather(&query);
        let memory = gathered.memory();
        (gathered.missing() == 0).then_some(Totals { stats: gathered.stats, memory })
    }

    /// Asks every worker for everything, part by part.
    fn gather(&mut self, query: &StatsQuery) -> Gathered {
        self.serial += 1;
        let began = Instant::now();
        let query = Arc::new(query.clone());
        let mut gathered = Gathered { workers: vec![None; self.ends.len()], ..Gathered::default() };
        for worker in 0..self.ends.len() {
            self.ask(worker, &query, Bookmark::default());
        }
        let mut load = vec![shards::stats::ClientLoad::default(); self.ends.len()];
        let mut waiting = self.ends.len();
        let mut deadline = began + SHARD_ANSWER_MAX;
        while waiting > 0 {
            let Ok(told) = self.told.recv_deadline(deadline.min(began + GATHER_MAX)) else { break };
            if told.serial != self.serial {
                // Too late for the question that it answers.
                continue;
            }
            let Told { worker, stats, worker_numbers: numbers, .. } = told;
            gathered.parts += 1;
            deadline = Instant::now() + SHARD_ANSWER_MAX;
            load[worker].add(stats.load);
            match stats.next {
                Some(next) => self.ask(worker, &query, next),
                None => {
                    waiting -= 1;
                    let (gauges, load) = (stats.gauges, load[worker]);
                    gathered.workers[worker] = Some(WorkerReport { gauges, load, numbers });
                }
            }
            gathered.stats.add(stats);
        }
        if waiting > 0 {
            let took = began.elapsed();
            tracing::error!("{waiting} shards did not say their numbers within {took:?}");
        }
        gathered.stats.arrange(&query);
        gathered.took = began.elapsed();
        gathered
    }

    fn ask(&self, worker: usize, query: &Arc<StatsQuery>, from: Bookmark) {
        let question = Question { serial: self.serial, query: query.clone(), from };
        self.ends[worker].say(Word::Report(question));
    }
}

#[cfg(test)]
mod tests {
    use super::{Clerk, SHARD_ANSWER_MAX, Sources};
    use crate::nsqd::control::Inbox;
    use crate::nsqd::doorbell::Doorbell;
    use crate::nsqd::http::testing::{channel, facts, topic};
    use crate::nsqd::statistics::outpost::{Outpost, Word, WorkerNumbers};
    use crate::nsqd::statistics::page::{Detail, Page, Wanted};
    use shards::stats::{Bookmark, ShardStats, StatsQuery};
    use shards::upgrade::Room;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn sources() -> Sources {
        Sources {
            facts: Arc::new(facts()),
            percentiles: Vec::new(),
            data_path: std::env::temp_dir(),
            series_max: 10_000,
            legacy_names: false,
            compression: (Room::new(1), 1),
            survey: Inbox::new().survey(),
            beside: None,
        }
    }

    /// A worker with one topic, told in two parts; it answers each question, or none.
    fn worker(mut outpost: Outpost, name: &'static str, answers: bool) {
        std::thread::spawn(move || {
            let end = Instant::now() + 5 * SHARD_ANSWER_MAX;
            while Instant::now() < end {
                let Some(word) = outpost.hear() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let Word::Report(question) = word else { continue };
                let first = question.from == Bookmark::default();
                let part = if first { "a" } else { "b" };
                let topics = vec![topic(name, vec![channel(part)])];
                let next = first.then(Bookmark::later);
                let stats = ShardStats { topics, next, ..ShardStats::default() };
                if answers {
                    // One that is too late is not taken for the answer to another question.
                    let late = question.serial.wrapping_sub(1);
                    outpost.tell(late, ShardStats::default(), WorkerNumbers::default());
                    outpost.tell(question.serial, stats, WorkerNumbers::default());
                }
            }
        });
    }

    fn clerk(answers: [bool; 2]) -> Clerk {
        let doorbells = [0; 2].map(|_| Doorbell::new().unwrap());
        let (errands, _) = flume::bounded(1);
        let (clerk, outposts) = Clerk::new(sources(), &doorbells, &errands);
        let names = ["one", "two"];
        for ((outpost, name), answers) in outposts.into_iter().zip(names).zip(answers) {
            worker(outpost, name, answers);
        }
        clerk
    }

    fn stats() -> Wanted {
        let query = StatsQuery { without_clients: true, ..StatsQuery::default() };
        Wanted::Stats { query, memory: false, json: true }
    }

    #[test]
    fn the_parts_of_all_workers_become_one_page() {
        let mut clerk = clerk([true, true]);
        let Page::Json(page) = clerk.page(&stats()) else { panic!("no page") };
        let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
        let names = |index: usize| {
            let topic = &page["topics"][index];
            let channels = topic["channels"].as_array().unwrap().iter();
            let channels: Vec<_> = channels.map(|of| of["channel_name"].clone()).collect();
            (topic["topic_name"].clone(), channels)
        };
        assert_eq!(names(0), ("one".into(), vec!["a".into(), "b".into()]));
        assert_eq!(names(1), ("two".into(), vec!["a".into(), "b".into()]));
        let totals = clerk.totals().unwrap();
        assert_eq!(totals.stats.topics.len(), 2);
    }

    #[test]
    fn without_one_worker_there_are_no_stats_and_metrics_that_say_so() {
        let mut clerk = clerk([true, false]);
        let began = Instant::now();
        assert!(matches!(clerk.page(&stats()), Page::Failed(_)));
        assert!(began.elapsed() >= SHARD_ANSWER_MAX);
        let Page::Metrics(page) = clerk.page(&Wanted::Metrics(Detail::default())) else {
            panic!("no page")
        };
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("\nnsq_scrape_shards_missing 1\n"), "{page}");
        assert!(page.contains("\nnsq_topic_channels{topic=\"one\"} 2\n"), "{page}");
        assert!(clerk.totals().is_none());
    }
}
