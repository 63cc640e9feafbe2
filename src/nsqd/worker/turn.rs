//! The turn: sleep, take what arrived, let the shard work, send what came of it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Worker;
use crate::nsqd::disk::Disk;

impl Worker {
    /// Turns until told to stop, then closes everything.
    ///
    /// # Errors
    /// When the ring is unusable.
    pub async fn run(mut self) -> io::Result<()> {
        // What there was before a restart: nothing else may happen for a while.
        self.line.report(&mut self.shard);
        self.write_start()?;
        let mut present = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            self.sleep(present)?;
            let now = self.clock.tick();
            self.shard.begin_turn(now);
            self.look_at_floor();
            self.take_events();
            self.after_events();
            self.take_mail();
            self.pump_layers();
            self.reporter.hear(&mut self.shard);
            let Worker { line, shard, web, .. } = &mut self;
            line.hear(shard, |ticket, outcome| web.authorized(ticket, outcome));
            self.hear_office();
            self.hear_disk();
            self.beat();
            self.run_web().await;
            self.write_journal();
            self.shard.finish_turn();
            self.ask_disk();
            self.settle_clients();
            self.reread();
            self.reporter.report(&mut self.shard);
            self.line.report(&mut self.shard);
            self.post_letters();
            present = Instant::now();
            let (began, now_ms) = (self.clock.instant(), self.clock.mono_ms());
            self.turns.record(present.saturating_duration_since(began));
            self.publishes.turn(self.shard.take_publishes(), began, present, now_ms);
        }
        self.reporter.report_last(&mut self.shard);
        self.close();
        self.store_all()
    }

    /// Sleeps until something happens or is due.
    fn sleep(&mut self, present: Instant) -> io::Result<()> {
        let more = self.intake.more || self.layered.has_work();
        if more || self.web.is_stirred() || self.shard.has_work() {
            return self.ring.poll();
        }
        let timeout = self.next_deadline().map(|at| at.saturating_duration_since(present));
        if timeout == Some(Duration::ZERO) {
            return self.ring.poll();
        }
        let Worker { ring, mailbox, stop, reporter, line, disk, web, outpost, me, .. } = self;
        let life = &web.facts().life;
        ring.wait(timeout, || {
            mailbox.is_idle()
                && !life.has_news(*me)
                && !reporter.has_news()
                && !line.has_news()
                && !outpost.has_news()
                && !disk.as_ref().is_some_and(Disk::has_news)
                && !stop.load(Ordering::SeqCst)
        })
    }

    /// Says that it turns, when somebody asks.
    fn beat(&mut self) {
        let Worker { web, shard, me, .. } = self;
        web.facts().life.beat(*me, shard);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let shard = self.shard.next_deadline_ms();
        let rest = self.intake.next_deadline_ms();
        let mono_ms = shard.into_iter().chain(rest).min();
        mono_ms.map(|ms| self.clock.at(ms)).into_iter().chain(self.web.next_deadline()).min()
    }

    /// Ends every connection. What clients were sent is on its way.
    fn close(&mut self) {
        for listener in 0..self.intake.listeners.len() {
            self.ring.stop_accept(listener);
        }
        let sockets: Vec<_> = self.sockets.iter().collect();
        for socket in sockets {
            self.ring.close(socket);
        }
        // Descriptors in use by the kernel are released by the process's end.
        if let Err(error) = self.ring.poll() {
            tracing::debug!("the last poll of a ring failed - {error}");
        }
    }
}
