//! The shard's disk in its turns: what it is told, what is appended within the turn, what it asks
//! for, and the first and last turns of all.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Worker;

/// How long a shard may take at the end to store what is to outlast the process.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same, while the disk refuses everything.
const TROUBLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it sleeps at most in turns for the disk only.
const STORE_SLEEP: Duration = Duration::from_millis(10);

impl Worker {
    /// Tells the shard what the disk has done.
    pub(super) fn hear_disk(&mut self) {
        let Worker { disk, ring, shard, .. } = self;
        let Some(disk) = disk else { return };
        while let Some(event) = disk.next_event(ring) {
            shard.disk_event(event);
        }
        shard.disk_is_short(disk.is_short());
        if shard.watches_old_files() && disk.old_files_are_gone() {
            shard.old_files_are_gone();
        }
    }

    /// Writes down what happened in this turn, before anything of it leaves.
    pub(super) fn write_journal(&mut self) {
        let Worker { disk, shard, .. } = self;
        let Some(disk) = disk else { return };
        shard.prepare_journal();
        while let Some(batch) = shard.journal_batch() {
            let result = disk.append(batch.file, batch.offset, batch.slices.iter().copied());
            shard.journal_appended(result);
        }
        self.tell_trouble();
    }

    /// Says in the log and at `/ping` that the disk refuses something, and when that is over.
    fn tell_trouble(&mut self) {
        let trouble = self.shard.disk_trouble();
        if trouble == self.told_trouble.as_deref() {
            return;
        }
        match (&self.told_trouble, trouble) {
            (None, Some(trouble)) => tracing::error!("publishes are refused - {trouble}"),
            (Some(_), None) => tracing::info!("the disk works again, publishes are taken"),
            // Another try failed in other words.
            _ => {}
        }
        self.told_trouble = trouble.map(str::to_owned);
        self.web.facts().health.set(self.me, self.told_trouble.clone());
    }

    /// Tells the shard when the disk has less free space than it is to have, or enough again.
    pub(super) fn look_at_floor(&mut self) {
        let floor = &self.web.facts().floor;
        let is_low = floor.is_low();
        if is_low != self.is_low {
            self.shard.hold_floor(is_low.then(|| floor.text()));
            self.is_low = is_low;
        }
    }

    /// Has the disk do what the shard asks for.
    pub(super) fn ask_disk(&mut self) {
        let Worker { disk, ring, shard, .. } = self;
        let Some(disk) = disk else { return };
        while let Some(request) = shard.take_disk_request() {
            disk.submit(request, ring);
        }
    }

    /// Says in the log what the disk did.
    fn tell_metrics(&self) {
        if let Some(disk) = &self.disk {
            tracing::info!("DISK: {}", disk.metrics());
        }
    }

    /// Turns on until everything that is to outlast the process is on the disk.
    pub(super) fn store_all(&mut self) -> io::Result<()> {
        if self.disk.is_none() {
            return Ok(());
        }
        let began = Instant::now();
        self.shard.begin_stop();
        while !self.shard.is_stopped() {
            let hopeless = self.shard.disk_trouble().is_some() && began.elapsed() > TROUBLE_TIMEOUT;
            if began.elapsed() > STORE_TIMEOUT || hopeless {
                tracing::error!(
                    "not everything could be stored in time: messages in memory are lost"
                );
                return Ok(());
            }
            self.disk_turn()?;
        }
        self.tell_metrics();
        Ok(())
    }

    /// Turns until it is written down where everything stands after a start, or the disk refuses
    /// that. What an operator is told before would be undone by a crash.
    pub(super) fn write_start(&mut self) -> io::Result<()> {
        while self.shard.is_starting() && !self.stop.load(Ordering::Relaxed) {
            self.disk_turn()?;
        }
        Ok(())
    }

    /// A turn for the disk only, and the sleep until it has done something.
    fn disk_turn(&mut self) -> io::Result<()> {
        let now = self.clock.tick();
        self.shard.begin_turn(now);
        self.take_events();
        self.hear_disk();
        self.write_journal();
        self.shard.finish_turn();
        self.ask_disk();
        let Worker { ring, disk, shard, .. } = self;
        let idle = || !shard.has_work() && !disk.as_ref().is_some_and(|disk| disk.has_news());
        ring.wait(Some(STORE_SLEEP), idle)
    }
}
