//! A thread with a small glommio executor, not pinned to a core, for work that is not urgent.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::shield::panic_text;
use crate::log;

/// Entries of the executor's rings. More than this wait in the executor for their turn.
const RING_ENTRIES: usize = 128;

/// glommio's preemption timer, on every thread. When the system takes the processor away between
/// the reactor's last look and the first task's turn for longer than the timer (100 ms unless it
/// is told), then glommio takes its timer for an empty queue and sleeps, though tasks can run. So
/// the timer never fires: nothing here relies on it.
pub const PREEMPT_NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often the thread is woken from outside, whatever it sleeps for.
const NUDGE_INTERVAL: Duration = Duration::from_millis(200);

/// How long a new thread may take to show that its executor works.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// How many threads are tried.
const START_ATTEMPTS: usize = 5;

/// What tells the thread's work to end. Dropping the other side tells it, too.
#[derive(Debug)]
#[allow(dead_code, reason = "nsqlookupd stops when nobody can ask it any more")]
pub struct StopSignal(flume::Receiver<()>);

#[allow(dead_code, reason = "as above")]
impl StopSignal {
    /// Waits until it is time to end. Only one task should wait.
    pub async fn wait(&self) {
        // An error is the other side's drop.
        let _ = self.0.recv_async().await;
    }
}

/// A running thread. Dropping it tells the thread to stop, but does not wait.
#[derive(Debug)]
pub struct LightThread {
    name: &'static str,
    stop: flume::Sender<()>,
    finished: flume::Receiver<()>,
}

impl LightThread {
    /// Starts a thread and runs `work` on it until that returns, which it should soon after the
    /// signal. `work` says when it is ready or why it cannot be by means of its own.
    ///
    /// A panic of `work` ends the process: something of the program is missing, and nobody would
    /// know. Tasks that it spawns should be [shielded](super::shield::Shielded).
    ///
    /// # Errors
    /// When the thread or its executor cannot be had.
    pub fn start<W, F>(name: &'static str, work: W) -> Result<LightThread, String>
    where
        W: FnOnce(StopSignal) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let hand_over = idle_thread(name)?;
        let (stop, signal) = flume::bounded(1);
        let (finish, finished) = flume::bounded(1);
        let job: Job = Box::new(move |executor| {
            run(name, executor, work(StopSignal(signal)));
            // Nobody listens any more when the process is ending anyway.
            let _ = finish.send(());
        });
        hand_over.send(job).map_err(|_| format!("the thread {name} ended at its start"))?;
        Ok(LightThread { name, stop, finished })
    }

    /// Tells the thread to stop and waits for it, as long as `patience` lasts. What it leaves
    /// undone then ends with the process.
    pub fn stop(self, patience: Duration) {
        // A full channel holds a signal already; a closed one has nobody to be told.
        let _ = self.stop.try_send(());
        if self.finished.recv_deadline(Instant::now() + patience).is_err() {
            tracing::warn!("the thread {} did not stop in time", self.name);
        }
    }
}

/// What a thread does with its executor.
type Job = Box<dyn FnOnce(&LocalExecutor) + Send>;

/// A thread whose executor has shown that it works, waiting for its work. One that fell asleep
/// before it could be nudged is left alone, and another is tried.
fn idle_thread(name: &'static str) -> Result<flume::Sender<Job>, String> {
    for _ in 0..START_ATTEMPTS {
        let (hand_over, jobs) = flume::bounded::<Job>(1);
        let (ready, readiness) = flume::bounded(1);
        let body = move || {
            let executor = match executor() {
                Ok(executor) => executor,
                // The starting thread waits for it.
                Err(error) => return drop(ready.send(Err(error))),
            };
            // After the executor, so that it goes first.
            let life = Arc::new(());
            let nudged = Nudged::default();
            let registered = nudged.clone();
            executor.run(async move {
                glommio::spawn_local(registered.wait()).detach();
            });
            // Whoever started it may have lost patience: then there is no job.
            let _ = ready.send(nudged.start(name, Arc::downgrade(&life)));
            if let Ok(job) = jobs.recv() {
                job(&executor);
            }
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| format!("cannot start a thread - {error}"))?;
        match readiness.recv_timeout(START_PATIENCE) {
            Ok(Ok(())) => return Ok(hand_over),
            Ok(Err(error)) => return Err(format!("cannot start an executor - {error}")),
            Err(_) => tracing::warn!("the thread {name} does not start, trying another"),
        }
    }
    Err(format!("the thread {name} does not start"))
}

/// Whom to nudge. The waker itself is used, again and again: a channel would not wake a task that
/// has been woken and does not get its turn.
#[derive(Clone, Debug, Default)]
struct Nudged(Arc<Mutex<Option<Waker>>>);

impl Nudged {
    /// Starts the thread that nudges, for the life of the one that is nudged. (The task itself
    /// outlives it: the end of an executor drops no tasks.)
    fn start(self, name: &str, life: Weak<()>) -> io::Result<()> {
        std::thread::Builder::new().name(format!("{name}-nudge")).spawn(move || {
            while life.strong_count() > 0 {
                std::thread::sleep(NUDGE_INTERVAL);
                let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                waker.iter().for_each(Waker::wake_by_ref);
            }
        })?;
        Ok(())
    }

    /// A task to be nudged.
    async fn wait(self) {
        poll_fn(|cx| {
            let mut waker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waker.get_or_insert_with(|| cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }
}

fn executor() -> io::Result<LocalExecutor> {
    let builder = LocalExecutorBuilder::new(Placement::Unbound)
        .preempt_timer(PREEMPT_NEVER)
        .io_memory(0)
        .ring_depth(RING_ENTRIES)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    builder.make().map_err(io::Error::from)
}

fn run(name: &'static str, executor: &LocalExecutor, work: impl Future<Output = ()>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| executor.run(work)));
    if let Err(panic) = outcome {
        log::fatal(name, &format!("the thread panicked - {}", panic_text(&*panic)));
        process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::LightThread;

    #[test]
    fn work_runs_until_it_is_told_to_stop() {
        let (said, heard) = flume::unbounded();
        let thread = LightThread::start("test", move |stop| async move {
            said.send("started").unwrap();
            stop.wait().await;
            said.send("stopped").unwrap();
        })
        .unwrap();
        assert_eq!(heard.recv(), Ok("started"));
        assert!(heard.try_recv().is_err());
        thread.stop(Duration::from_secs(10));
        assert_eq!(heard.try_recv(), Ok("stopped"));
    }

    #[test]
    fn a_thread_whose_owner_is_gone_stops() {
        let (said, heard) = flume::unbounded();
        let thread = LightThread::start("test", move |stop| async move {
            stop.wait().await;
            said.send(()).unwrap();
        })
        .unwrap();
        drop(thread);
        assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(()));
    }
}
