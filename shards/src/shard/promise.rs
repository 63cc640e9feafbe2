//! Answers that wait until what they promise is true: written to the journal, or synced.
//!
//! A publish is answered in the client's output at once, but the output is gated there: nothing
//! from there on is sent before the turn is written down, or synced (which takes a while). When
//! that fails, the output is cut off at the gate and the client is told `E_PUB_FAILED`.

use alloc::string::String;
use alloc::vec::Vec;

use super::Shard;
use crate::disk::{DiskError, DiskRequest};
use crate::limits::{Durability, SYNC_PAUSE_MS};
use crate::mail::Answer;
use crate::request::Reply;
use crate::slots::Key;
use crate::wire::errors::Refusal;

/// Who is owed an answer.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Clients. Where in their output the answers begin, their gates say.
    clients: Vec<Key>,
    /// Publishes of other workers.
    answers: Vec<(u16, Answer)>,
    /// Requests of HTTP, here or there, by worker and ticket, and what they are told.
    replies: Vec<(u16, u64, Reply)>,
    /// Messages of channels here that went to a topic here.
    transfers: Vec<(Key, u64)>,
}

impl Owed {
    fn is_empty(&self) -> bool {
        self.clients.is_empty()
            && self.answers.is_empty()
            && self.replies.is_empty()
            && self.transfers.is_empty()
    }
}

/// How many publishes were taken in and answered, for who measures how long that takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publishes {
    /// Taken in, and answered when the turn is written down at the latest.
    pub answered: u64,
    /// Taken in, and answered when they are synced.
    pub to_be_synced: u64,
    /// Synced by now, in the order in which they were taken in, or refused for want of that.
    pub synced: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// True when the turn is written down.
    written: Owed,
    /// True when the next sync is done.
    next_sync: Owed,
    /// True when the sync under way is done.
    syncing: Owed,
    /// Syncs that are not answered yet, by ticket and file, and whether one of them failed.
    tickets: Vec<(u32, u32)>,
    failed: Option<String>,
    last_ticket: u32,
    /// When a sync was last asked for.
    synced_ms: u64,
    /// Publishes since they were last asked for.
    publishes: Publishes,
    /// Publishes that wait for the next sync, and for the one under way.
    unsynced: [u64; 2],
}

impl Promises {
    /// Whether somebody waits for a sync.
    pub(super) fn are_waiting(&self) -> bool {
        !self.next_sync.is_empty() || !self.syncing.is_empty()
    }

    fn owed(&mut self, durability: Durability) -> &mut Owed {
        match durability {
            Durability::Synced => &mut self.next_sync,
            Durability::Memory | Durability::Written => &mut self.written,
        }
    }
}

/// Where a client's output waits for a promise to be true: offsets from the start of the output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// For the turn to be written down.
    written: Option<usize>,
    /// For the sync under way.
    syncing: Option<usize>,
    /// For the next one.
    next: Option<usize>,
}

impl Gate {
    /// Where the output ends that may be sent.
    #[must_use]
    pub fn end(&self, length: usize) -> usize {
        let ends = [self.written, self.syncing, self.next];
        ends.into_iter().flatten().min().unwrap_or(length)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.written.is_none() && self.syncing.is_none() && self.next.is_none()
    }

    /// So many bytes at the start of the output are gone.
    pub fn shift(&mut self, bytes: usize) {
        for end in [&mut self.written, &mut self.syncing, &mut self.next].into_iter().flatten() {
            *end -= bytes;
        }
    }
}

impl Shard {
    /// What became of publishes since this was last asked.
    pub fn take_publishes(&mut self) -> Publishes {
        core::mem::take(&mut self.promises.publishes)
    }

    /// A publish was taken in.
    pub(super) fn count_publish(&mut self, durability: Durability) {
        let promises = &mut self.promises;
        match durability {
            Durability::Synced => {
                promises.publishes.to_be_synced += 1;
                promises.unsynced[0] += 1;
            }
            Durability::Memory | Durability::Written => promises.publishes.answered += 1,
        }
    }

    /// The answer that is about to be put into a client's output promises something.
    pub(super) fn owe_client(&mut self, key: Key, durability: Durability) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let gate = match durability {
            Durability::Memory => return,
            Durability::Written => &mut client.gate.written,
            Durability::Synced => &mut client.gate.next,
        };
        if gate.is_none() {
            *gate = Some(client.output.len());
            self.promises.owed(durability).clients.push(key);
        }
    }

    /// An answer to another worker that promises something.
    pub(super) fn owe_answer(&mut self, to: u16, answer: Answer, durability: Durability) {
        let answers = &mut self.promises.owed(durability).answers;
        if answer.refused.is_none()
            && let Some((last_to, last)) = answers.last_mut()
            && *last_to == to
            && last.extend(answer.origin, answer.bytes)
        {
            return;
        }
        answers.push((to, answer));
    }

    /// A reply to HTTP that promises something.
    pub(super) fn owe_reply(&mut self, to: u16, ticket: u64, durability: Durability, reply: Reply) {
        self.promises.owed(durability).replies.push((to, ticket, reply));
    }

    /// A message of a channel here went to a topic here, which promises something.
    pub(super) fn owe_transfer(&mut self, channel: Key, sequence: u64, durability: Durability) {
        self.promises.owed(durability).transfers.push((channel, sequence));
    }

    /// The turn is written down.
    pub(super) fn keep_promises(&mut self) {
        let mut owed = core::mem::take(&mut self.promises.written);
        self.give(&mut owed, |gate| gate.written = None);
        self.promises.written = owed;
    }

    /// The turn cannot be written down.
    pub(super) fn break_promises(&mut self) {
        let reason = self.disk_reason();
        self.promises.publishes.synced += core::mem::take(&mut self.promises.unsynced[0]);
        for owed in [
            core::mem::take(&mut self.promises.written),
            core::mem::take(&mut self.promises.next_sync),
        ] {
            self.refuse_owed(owed, &reason);
        }
    }

    /// Gives what was promised, and leaves the lists empty but warm.
    fn give(&mut self, owed: &mut Owed, open: impl Fn(&mut Gate)) {
        for key in owed.clients.drain(..) {
            let Some(client) = self.clients.get_mut(key) else { continue };
            open(&mut client.gate);
            self.soil(key);
            self.advance_phase(key);
        }
        for (to, answer) in owed.answers.drain(..) {
            self.answers[usize::from(to)].push(answer);
        }
        for (to, ticket, reply) in owed.replies.drain(..) {
            self.send_reply(to, ticket, reply);
        }
        for (channel, sequence) in owed.transfers.drain(..) {
            self.transferred(channel, sequence, false);
        }
    }

    fn refuse_owed(&mut self, owed: Owed, reason: &str) {
        for key in owed.clients {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let gate = core::mem::take(&mut client.gate);
            if gate.is_open() {
                // It was refused for another promise just now.
                continue;
            }
            client.output.truncate(gate.end(client.output.len()).max(client.sent));
            client.pending.clear();
            client.phase = crate::client::Phase::Open;
            let text = format_args!("E_PUB_FAILED PUB failed {reason}");
            self.refuse(key, Refusal::new(text));
        }
        for (to, answer) in owed.answers {
            let refused = Some(String::from(reason));
            self.answers[usize::from(to)].push(Answer { refused, ..answer });
        }
        for (to, ticket, _) in owed.replies {
            self.send_reply(to, ticket, Reply::Refused(String::from(reason)));
        }
        for (channel, sequence) in owed.transfers {
            self.transferred(channel, sequence, true);
        }
    }

    /// Asks for a sync when somebody waits for one, or it is time for one.
    pub(super) fn sync_journal(&mut self) {
        if !self.promises.tickets.is_empty() || self.journal.files.is_empty() {
            return;
        }
        let waited = !self.promises.next_sync.is_empty();
        let unsynced = self.journal.files.iter().any(|file| file.unsynced);
        let rested = self.now.mono_ms >= self.promises.synced_ms + SYNC_PAUSE_MS;
        let due = rested && self.journal.unsynced >= self.options.sync_every
            || self.now.mono_ms >= self.promises.synced_ms + self.options.sync_timeout_ms;
        if !(waited || (unsynced && due)) {
            return;
        }
        self.promises.synced_ms = self.now.mono_ms;
        self.journal.unsynced = 0;
        core::mem::swap(&mut self.promises.syncing, &mut self.promises.next_sync);
        self.promises.unsynced[1] = core::mem::take(&mut self.promises.unsynced[0]);
        for index in 0..self.promises.syncing.clients.len() {
            let key = self.promises.syncing.clients[index];
            if let Some(client) = self.clients.get_mut(key) {
                client.gate.syncing = client.gate.next.take();
            }
        }
        for file in self.journal.files.iter_mut().filter(|file| file.unsynced) {
            file.unsynced = false;
            self.promises.last_ticket = self.promises.last_ticket.wrapping_add(1) | SYNC_TICKET;
            let ticket = self.promises.last_ticket;
            self.promises.tickets.push((ticket, file.number));
            self.space.requests.push_back(DiskRequest::Sync { ticket, file: file.number });
        }
        self.end_sync();
    }

    /// When the journal is to be synced at the latest.
    pub(super) fn sync_deadline_ms(&self) -> Option<u64> {
        let unsynced = self.journal.files.iter().any(|file| file.unsynced);
        let due = self.promises.synced_ms + self.options.sync_timeout_ms;
        (unsynced && self.promises.tickets.is_empty()).then_some(due)
    }

    /// One of the files of the sync under way is done. False when the ticket is not of one.
    pub(super) fn journal_synced(&mut self, ticket: u32, result: Result<(), DiskError>) -> bool {
        let mut tickets = self.promises.tickets.iter();
        let Some(index) = tickets.position(|&(other, _)| other == ticket) else {
            return false;
        };
        let (_, number) = self.promises.tickets.swap_remove(index);
        // A file that is not there any more is covered by others, which are synced.
        if self.journal.synced(number, result.is_ok()) == Some(false) {
            let text = String::from("an earlier sync has failed");
            let error = result.err().unwrap_or(DiskError { full: false, text });
            self.journal_failed(&error);
            self.promises.failed = Some(error.text);
        }
        self.end_sync();
        true
    }

    /// A sync has failed: what was appended meanwhile may be lost with the rest.
    pub(super) fn refuse_next_sync(&mut self, reason: &str) {
        self.promises.publishes.synced += core::mem::take(&mut self.promises.unsynced[0]);
        let owed = core::mem::take(&mut self.promises.next_sync);
        self.refuse_owed(owed, reason);
    }

    fn end_sync(&mut self) {
        if !self.promises.tickets.is_empty() {
            return;
        }
        let mut owed = core::mem::take(&mut self.promises.syncing);
        self.promises.publishes.synced += core::mem::take(&mut self.promises.unsynced[1]);
        match self.promises.failed.take() {
            None => {
                self.give(&mut owed, |gate| gate.syncing = None);
                self.promises.syncing = owed;
            }
            Some(reason) => {
                self.refuse_owed(owed, &reason);
                self.refuse_next_sync(&reason);
            }
        }
    }
}

/// Set in the tickets of the journal's syncs.
pub(super) const SYNC_TICKET: u32 = 1 << 31;
