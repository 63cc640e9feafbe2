//! A thread with a small glommio executor, not pinned to a core, for work that is not urgent.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::time::{Duration, Instant};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::shield::panic_text;
use crate::log;

/// Entries of the executor's rings. More than this wait in the executor for their turn.
const RING_ENTRIES: usize = 128;
/// How long a busy task may keep others from the reactor.
const PREEMPT_INTERVAL: Duration = Duration::from_millis(1);

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
        let (stop, signal) = flume::bounded(1);
        let (finish, finished) = flume::bounded(1);
        let (ready, readiness) = flume::bounded(1);
        let body = move || {
            let executor = executor();
            let started = executor.as_ref().map(|_| ()).map_err(ToString::to_string);
            // The starting thread waits for it.
            let _ = ready.send(started);
            if let Ok(executor) = executor {
                run(name, &executor, work(StopSignal(signal)));
            }
            // Nobody listens any more when the process is ending anyway.
            let _ = finish.send(());
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| format!("cannot start a thread - {error}"))?;
        match readiness.recv() {
            Ok(Ok(())) => Ok(LightThread { name, stop, finished }),
            Ok(Err(error)) => Err(format!("cannot start an executor - {error}")),
            Err(_) => Err(format!("the thread {name} ended at its start")),
        }
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

fn executor() -> io::Result<LocalExecutor> {
    let builder = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(0)
        .ring_depth(RING_ENTRIES)
        .preempt_timer(PREEMPT_INTERVAL)
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
