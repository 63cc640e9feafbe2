//! The lanes between workers: how a shard leaves work for another without ever waiting for it.
//!
//! Each ordered pair of workers has two bounded lanes of its own, so that a lane has one writer and
//! one reader and needs no lock. Data (publishes) and answers (acknowledgements, handoffs) have
//! separate lanes: an answer never queues behind the data that it is the answer to, so two shards
//! that are full of each other's data still make progress.
//!
//! A full lane refuses ([`Mailbox::try_post`] gives the message back) and remembers that its writer
//! was turned away; the reader rings the writer's doorbell when it has made room. What to do
//! meanwhile, usually to stop reading from the clients that produce, is the writer's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};

use super::doorbell::Doorbell;

#[cfg(test)]
mod tests;

/// Which of the two lanes to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Work that one worker wants another to do.
    Data,
    /// What came of it, and whatever must not queue behind data.
    Answer,
}

/// How many messages each lane holds.
#[derive(Clone, Copy, Debug)]
pub struct LaneCapacities {
    /// Of each data lane.
    pub data: usize,
    /// Of each answer lane.
    pub answer: usize,
}

/// One worker's end of all its lanes.
pub struct Mailbox<T> {
    me: usize,
    /// By worker; there are no lanes from a worker to itself.
    peers: Vec<Option<Peer<T>>>,
    /// The worker whose data is taken first next time, so that none is always last.
    first: usize,
}

/// The lanes to and from one other worker.
struct Peer<T> {
    doorbell: Doorbell,
    to: Pair<Writer<T>>,
    from: Pair<Reader<T>>,
    /// Something was posted since its doorbell was last rung.
    posted: bool,
}

/// One thing for each lane.
struct Pair<L> {
    data: L,
    answer: L,
}

impl<L> Pair<L> {
    fn lane_mut(&mut self, lane: Lane) -> &mut L {
        match lane {
            Lane::Data => &mut self.data,
            Lane::Answer => &mut self.answer,
        }
    }
}

/// The writing end of a lane.
struct Writer<T> {
    messages: Producer<T>,
    /// Set by the writer when it was turned away, cleared by the reader when it made room.
    turned_away: Arc<AtomicBool>,
    /// The writer was turned away and has not been told of room since.
    waits_for_room: bool,
}

impl<T> Writer<T> {
    fn try_push(&mut self, message: T) -> Result<(), T> {
        let Err(rtrb::PushError::Full(message)) = self.messages.push(message) else {
            self.waits_for_room = false;
            return Ok(());
        };
        // First say it, then try once more: the reader makes room first and then looks whether
        // somebody was turned away, so one of the two notices.
        self.turned_away.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let Err(rtrb::PushError::Full(message)) = self.messages.push(message) else {
            self.waits_for_room = false;
            return Ok(());
        };
        self.waits_for_room = true;
        Err(message)
    }

    /// Whether there is room that the writer waited for. Says so once; until then the reader
    /// knows that the writer waits.
    fn found_room(&mut self) -> bool {
        if !self.waits_for_room {
            return false;
        }
        // Said again before looking: the reader may have taken it for a wait that ended, when the
        // writer filled the room that the reader was just about to tell it of.
        self.turned_away.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.waits_for_room = self.messages.is_full();
        !self.waits_for_room
    }
}

/// The reading end of a lane.
struct Reader<T> {
    messages: Consumer<T>,
    turned_away: Arc<AtomicBool>,
}

impl<T> Reader<T> {
    /// Hands on up to `limit` messages and returns how many there were.
    fn take(&mut self, limit: usize, mut deliver: impl FnMut(T)) -> usize {
        let count = self.messages.slots().min(limit);
        for _ in 0..count {
            match self.messages.pop() {
                Ok(message) => deliver(message),
                Err(rtrb::PopError::Empty) => unreachable!("only the reader empties a lane"),
            }
        }
        count
    }

    /// Whether the writer was turned away before room was made. Says so once.
    fn writer_was_turned_away(&self) -> bool {
        fence(Ordering::SeqCst);
        self.turned_away.load(Ordering::Relaxed) && self.turned_away.swap(false, Ordering::AcqRel)
    }
}

/// Makes a lane.
fn lane<T>(capacity: usize) -> (Writer<T>, Reader<T>) {
    assert!(capacity > 0, "a lane without room");
    let (producer, consumer) = RingBuffer::new(capacity);
    let turned_away = Arc::new(AtomicBool::new(false));
    let writer =
        Writer { messages: producer, turned_away: Arc::clone(&turned_away), waits_for_room: false };
    (writer, Reader { messages: consumer, turned_away })
}

/// Makes the lanes from one worker to another.
fn lanes<T>(capacities: LaneCapacities) -> (Pair<Writer<T>>, Pair<Reader<T>>) {
    let (data_writer, data_reader) = lane(capacities.data);
    let (answer_writer, answer_reader) = lane(capacities.answer);
    (
        Pair { data: data_writer, answer: answer_writer },
        Pair { data: data_reader, answer: answer_reader },
    )
}

impl<T: Send> Mailbox<T> {
    /// One mailbox for each doorbell, in their order, with lanes between every two of them.
    pub fn build(capacities: LaneCapacities, doorbells: &[Doorbell]) -> Vec<Mailbox<T>> {
        let workers = doorbells.len();
        let empty = || (0..workers).map(|_| None).collect();
        let mut mailboxes: Vec<Mailbox<T>> =
            (0..workers).map(|me| Mailbox { me, peers: empty(), first: 0 }).collect();
        for low in 0..workers {
            for high in low + 1..workers {
                let (to_high, from_low) = lanes(capacities);
                let (to_low, from_high) = lanes(capacities);
                let peer = |worker: usize, to, from| {
                    Some(Peer { doorbell: doorbells[worker].clone(), to, from, posted: false })
                };
                mailboxes[low].peers[high] = peer(high, to_high, from_high);
                mailboxes[high].peers[low] = peer(low, to_low, from_low);
            }
        }
        mailboxes
    }

    /// How many workers there are, this one included.
    pub fn workers(&self) -> usize {
        self.peers.len()
    }

    /// Leaves a message for another worker, which hears of it at [`Mailbox::ring_posted`].
    ///
    /// # Errors
    ///
    /// Gives the message back when the lane is full. The doorbell of this worker rings, or
    /// [`Mailbox::is_idle`] says no, when there is room again.
    pub fn try_post(&mut self, to: usize, lane: Lane, message: T) -> Result<(), T> {
        let peer = self.peer_mut(to);
        peer.to.lane_mut(lane).try_push(message)?;
        peer.posted = true;
        Ok(())
    }

    /// Rings the doorbell of every worker that something was posted to since the last call. Once
    /// per turn.
    pub fn ring_posted(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            if std::mem::take(&mut peer.posted) {
                peer.doorbell.ring();
            }
        }
    }

    /// Delivers what others posted, with the number of who did: all answers that are there, of
    /// which there are never more than their lanes hold, then at most `data_max` messages of
    /// data, in fair shares. Wakes those who were turned away and find room now. Returns how many
    /// messages it delivered.
    pub fn drain(&mut self, data_max: usize, mut deliver: impl FnMut(usize, T)) -> usize {
        let mut delivered = 0;
        for (from, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer else { continue };
            delivered += peer.take(Lane::Answer, usize::MAX, |message| deliver(from, message));
        }
        let workers = self.peers.len();
        let mut data_left = data_max;
        let mut peers_left = workers - 1;
        for step in 0..workers {
            let from = (self.first + step) % workers;
            let Some(peer) = &mut self.peers[from] else {
                continue;
            };
            let share = data_left.div_ceil(peers_left);
            peers_left -= 1;
            let taken = peer.take(Lane::Data, share, |message| deliver(from, message));
            data_left -= taken;
            delivered += taken;
        }
        self.first = (self.first + 1) % workers;
        delivered
    }

    /// Whether nothing waits here and nothing that was turned away could be posted now: what a
    /// worker asks before it sleeps.
    pub fn is_idle(&mut self) -> bool {
        self.peers.iter_mut().flatten().all(Peer::is_idle)
    }

    /// How many messages others left in their lanes of this kind.
    pub fn waiting(&self, lane: Lane) -> usize {
        let slots = |peer: &Peer<T>| match lane {
            Lane::Data => peer.from.data.messages.slots(),
            Lane::Answer => peer.from.answer.messages.slots(),
        };
        self.peers.iter().flatten().map(slots).sum()
    }

    fn peer_mut(&mut self, worker: usize) -> &mut Peer<T> {
        assert_ne!(worker, self.me, "a worker has no lane to itself");
        self.peers[worker].as_mut().expect("only the worker itself is missing among its peers")
    }
}

impl<T> Peer<T> {
    fn take(&mut self, lane: Lane, limit: usize, deliver: impl FnMut(T)) -> usize {
        let reader = self.from.lane_mut(lane);
        let taken = reader.take(limit, deliver);
        if taken > 0 && reader.writer_was_turned_away() {
            self.doorbell.ring();
        }
        taken
    }

    fn is_idle(&mut self) -> bool {
        // Not short-circuited: each side of the second line forgets what it has reported.
        let nothing_came =
            self.from.data.messages.is_empty() && self.from.answer.messages.is_empty();
        let found_room = self.to.data.found_room() | self.to.answer.found_room();
        nothing_came && !found_room
    }
}
