//! The workers' threads: started together, stopped together.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement as CorePlacement, PoolPlacement};
use shards::limits::Options;
use shards::metadata::TopicMetadata;
use shards::placement::Placement;
use shards::shard::OldFiles;

use super::control::line::Line;
use super::doorbell::Doorbell;
use super::http::facts::Facts;
use super::mailbox::{LaneCapacities, Mailbox};
use super::metadata::keeper::Reporter;
use super::recovery::Part;
use super::statistics::Outpost;
use super::statistics::latency::Settings as Latency;
use super::worker::{Listening, Mail, Worker, WorkerParts};
use crate::log;
use crate::net::thread::PREEMPT_NEVER;
use crate::tls::ServerTls;

/// Letters that fit between two workers; what finds no room waits with the sender.
const LANES: LaneCapacities = LaneCapacities { data: 256, answer: 1024 };
/// How long workers may take to stop before the process ends without them.
const STOP_TIMEOUT: Duration = Duration::from_secs(65);
/// Entries of glommio's own rings, which stay nearly idle.
const GLOMMIO_RING_ENTRIES: usize = 64;

/// What differs from worker to worker.
pub(super) struct PartsOf {
    pub(super) options: Options,
    pub(super) placement: Placement,
    pub(super) listening: Vec<Listening>,
    pub(super) topics: Vec<TopicMetadata>,
    pub(super) part: Option<Part>,
    pub(super) sequence_floor: u64,
    pub(super) reporter: Reporter,
    pub(super) line: Line,
    pub(super) outpost: Outpost,
    pub(super) latency: Option<Latency>,
    pub(super) facts: Arc<Facts>,
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) handshakes_max: usize,
    pub(super) started: Instant,
}

/// The workers before they run.
pub(super) struct Crew {
    pub(super) doorbells: Vec<Doorbell>,
    mailboxes: Vec<Mailbox<Mail>>,
}

/// The workers while they run.
pub(super) struct RunningCrew {
    doorbells: Vec<Doorbell>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    finished: flume::Receiver<()>,
}

impl Crew {
    pub(super) fn new(workers: usize) -> io::Result<Crew> {
        let doorbells = (0..workers).map(|_| Doorbell::new()).collect::<io::Result<Vec<_>>>()?;
        let mailboxes = Mailbox::build(LANES, &doorbells);
        Ok(Crew { doorbells, mailboxes })
    }

    /// Starts every worker on its core and waits until all are ready.
    pub(super) fn start(
        self,
        core_of: impl Fn(usize) -> Option<usize>,
        mut parts_of: impl FnMut(usize) -> PartsOf,
    ) -> Result<RunningCrew, String> {
        let Crew { doorbells, mailboxes } = self;
        let (ready, readiness) = flume::unbounded();
        let (finish, finished) = flume::unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (worker, mailbox) in mailboxes.into_iter().enumerate() {
            let of = parts_of(worker);
            let (disk, recovered, old_files) = match of.part {
                Some(Part { disk, topics, old_files }) => (Some(disk), topics, old_files),
                None => (None, Vec::new(), OldFiles::default()),
            };
            let seed = getrandom::u64().map_err(|error| format!("no random numbers - {error}"))?;
            let parts = WorkerParts {
                options: of.options,
                placement: of.placement,
                mailbox,
                doorbell: doorbells[worker].clone(),
                stop: stop.clone(),
                listening: of.listening,
                topics: of.topics,
                disk,
                recovered,
                sequence_floor: of.sequence_floor,
                old_files,
                reporter: of.reporter,
                line: of.line,
                outpost: of.outpost,
                latency: of.latency,
                facts: of.facts,
                tls: of.tls,
                handshakes_max: of.handshakes_max,
                started: of.started,
                seed,
            };
            let (core, ready, finish) = (core_of(worker), ready.clone(), finish.clone());
            let name = core.map_or("acceptor".to_owned(), |_| format!("shard-{worker}"));
            let thread = thread::Builder::new().name(name).spawn(move || {
                work(core, parts, &ready);
                // Nobody listens any more when the process is ending anyway.
                let _ = finish.send(());
            });
            threads.push(thread.map_err(|error| format!("cannot start a thread - {error}"))?);
        }
        drop(ready);
        for _ in 0..threads.len() {
            readiness.recv().unwrap_or_else(|_| Err("a worker ended at its start".to_owned()))?;
        }
        Ok(RunningCrew { doorbells, stop, threads, finished })
    }
}

impl RunningCrew {
    /// Stops every worker, and waits for them as long as that is reasonable.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.doorbells.iter().for_each(Doorbell::ring);
        let deadline = Instant::now() + STOP_TIMEOUT;
        for _ in 0..self.threads.len() {
            if self.finished.recv_deadline(deadline).is_err() {
                tracing::warn!("a worker did not stop in time");
                return;
            }
        }
    }
}

/// A worker's thread.
fn work(core: Option<usize>, parts: WorkerParts, ready: &flume::Sender<Result<(), String>>) {
    // glommio panics where it finds no executor to be had, for example without /sys.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let placement = core.map_or(CorePlacement::Unbound, CorePlacement::Fixed);
        let executor = LocalExecutorBuilder::new(placement)
            .preempt_timer(PREEMPT_NEVER)
            .io_memory(0)
            .ring_depth(GLOMMIO_RING_ENTRIES)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
            .make();
        let executor = match executor {
            Ok(executor) => executor,
            Err(error) => {
                report(ready, Err(format!("cannot start an executor - {error}")));
                return Ok(());
            }
        };
        executor.run(async {
            match Worker::new(parts) {
                Ok(worker) => {
                    report(ready, Ok(()));
                    worker.run().await
                }
                Err(error) => {
                    report(ready, Err(format!("cannot start a worker - {error}")));
                    Ok(())
                }
            }
        })
    }));
    let problem = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("a worker's ring failed - {error}"),
        Err(_) => "a worker panicked; messages in memory are lost".to_owned(),
    };
    log::fatal("nsqd", &problem);
    std::process::exit(1);
}

fn report(ready: &flume::Sender<Result<(), String>>, outcome: Result<(), String>) {
    // The main thread waits for every worker, or has given up because of another.
    let _ = ready.send(outcome);
}
