//! What the office hears of a worker, and the pages that it sends.

use super::Worker;
use crate::nsqd::disk::Disk;
use crate::nsqd::mailbox::Lane;
use crate::nsqd::statistics::outpost::{Question, Word, WorkerNumbers};

impl Worker {
    /// Takes what the office said: pages go to who ordered them, and a question gets a part of
    /// the statistics for an answer, one in a turn.
    pub(super) fn hear_office(&mut self) {
        while let Some(word) = self.outpost.hear() {
            match word {
                Word::Page(ticket, page) => self.web.page_came(ticket, page),
                Word::Report(question) => self.tell_office(&question),
            }
        }
    }

    fn tell_office(&mut self, question: &Question) {
        let stats = self.shard.report(&question.query, question.from);
        let numbers = self.numbers();
        self.outpost.tell(question.serial, stats, numbers);
    }

    fn numbers(&mut self) -> WorkerNumbers {
        let lanes = [Lane::Data, Lane::Answer];
        let unposted =
            |lane: usize| self.unposted.iter().map(|queues| queues[lane].len() as u64).sum();
        WorkerNumbers {
            turns: self.turns,
            mail_waiting: lanes.map(|lane| self.mailbox.waiting(lane) as u64),
            mail_unposted: [0, 1].map(unposted),
            http_connections: self.web.connection_count() as u64,
            http_connections_total: self.web.opened(),
            http_requests: self.web.requests(),
            publishes: self.publishes.numbers(self.clock.mono_ms()),
            http_waiting: self.web.waiting() as u64,
            handshakes: self.layered.handshakes() as u64,
            handshakes_waiting: self.layered.handshakes_waiting() as u64,
            handshakes_total: self.layered.handshakes_total(),
            compression_refused: self.layered.compression_refused(),
            sockets_starved: self.ring.starved() as u64,
            starvations: self.ring.starvations(),
            traffic_bytes: self.ring.traffic_bytes(),
            http_grants: self.web.grants() as u64,
            file_operations: self.ring.file_operations() as u64,
            disk: self.disk.as_ref().map(Disk::metrics),
        }
    }
}
