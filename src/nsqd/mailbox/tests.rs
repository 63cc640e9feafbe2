//! The lanes: what they promise one by one, then under stress from several threads.

use super::*;

use std::thread;
use std::time::{Duration, Instant};

use crate::nsqd::ring::{Ring, RingOptions};

/// Longest that any test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

const TWO: LaneCapacities = LaneCapacities { data: 2, answer: 2 };

impl<T: Send> Mailbox<T> {
    /// How many messages lie in the lane to a worker, at most: it may be taking some right now.
    fn len_of(&self, to: usize, lane: Lane) -> usize {
        let messages = &self.writer(to, lane).messages;
        messages.buffer().capacity() - messages.slots()
    }

    fn writer(&self, to: usize, lane: Lane) -> &Writer<T> {
        let pair = &self.peers[to].as_ref().unwrap().to;
        match lane {
            Lane::Data => &pair.data,
            Lane::Answer => &pair.answer,
        }
    }
}

fn mailboxes<T: Send>(workers: usize, capacities: LaneCapacities) -> Vec<Mailbox<T>> {
    let doorbells: Vec<_> = (0..workers).map(|_| Doorbell::new().unwrap()).collect();
    Mailbox::build(capacities, &doorbells)
}

fn drained<T: Send>(mailbox: &mut Mailbox<T>, data_max: usize) -> Vec<(usize, T)> {
    let mut all = Vec::new();
    let count = mailbox.drain(data_max, |from, message| all.push((from, message)));
    assert_eq!(count, all.len());
    all
}

#[test]
fn answers_overtake_data_and_each_lane_keeps_its_order() {
    let mut boxes = mailboxes(3, TWO);
    boxes[0].try_post(2, Lane::Data, "data 1").unwrap();
    boxes[0].try_post(2, Lane::Data, "data 2").unwrap();
    boxes[1].try_post(2, Lane::Answer, "answer 1").unwrap();
    boxes[1].try_post(2, Lane::Answer, "answer 2").unwrap();
    assert_eq!(boxes[0].len_of(2, Lane::Data), 2);
    assert_eq!(boxes[0].len_of(1, Lane::Data), 0);
    assert!(!boxes[2].is_idle());
    let all = drained(&mut boxes[2], 10);
    assert_eq!(all, [(1, "answer 1"), (1, "answer 2"), (0, "data 1"), (0, "data 2")]);
    assert!(boxes[2].is_idle());
    assert_eq!(boxes[0].len_of(2, Lane::Data), 0);
}

#[test]
fn a_full_lane_gives_the_message_back_and_leaves_the_other_lane_alone() {
    let mut boxes = mailboxes(2, TWO);
    for number in 0..2 {
        boxes[0].try_post(1, Lane::Data, number).unwrap();
    }
    assert_eq!(boxes[0].try_post(1, Lane::Data, 2), Err(2));
    assert_eq!(boxes[0].try_post(1, Lane::Answer, 3), Ok(()));
    assert!(boxes[0].is_idle(), "there is no room yet");
    assert_eq!(drained(&mut boxes[1], 1), [(0, 3), (0, 0)]);
    assert!(!boxes[0].is_idle(), "there is room now");
    assert!(boxes[0].is_idle(), "and it was said once");
    assert_eq!(boxes[0].try_post(1, Lane::Data, 2), Ok(()));
    assert_eq!(drained(&mut boxes[1], 10), [(0, 1), (0, 2)]);
}

#[test]
fn data_is_taken_in_fair_shares() {
    let mut boxes = mailboxes(4, LaneCapacities { data: 100, answer: 1 });
    for mailbox in &mut boxes[..3] {
        for number in 0..100 {
            mailbox.try_post(3, Lane::Data, number).unwrap();
        }
    }
    let mut counts = [0; 3];
    for turn in 1..=10 {
        let all = drained(&mut boxes[3], 30);
        assert_eq!(all.len(), 30);
        for (from, _) in all {
            counts[from] += 1;
        }
        assert_eq!(counts, [turn * 10; 3]);
    }
}

#[test]
fn one_peer_alone_gets_the_whole_limit() {
    let mut boxes = mailboxes(2, LaneCapacities { data: 100, answer: 1 });
    for number in 0..100 {
        boxes[0].try_post(1, Lane::Data, number).unwrap();
    }
    for _ in 0..10 {
        assert_eq!(drained(&mut boxes[1], 10).len(), 10);
    }
}

#[test]
fn a_worker_alone_has_nothing_to_do() {
    let mut boxes = mailboxes::<u8>(1, TWO);
    assert!(boxes[0].is_idle());
    assert_eq!(boxes[0].drain(10, |_, _| unreachable!("there is nobody")), 0);
    boxes[0].ring_posted();
}

#[test]
fn only_sleepers_that_were_posted_to_are_woken() {
    let doorbells: Vec<_> = (0..3).map(|_| Doorbell::new().unwrap()).collect();
    let mut boxes = Mailbox::build(TWO, &doorbells);
    doorbells[1].fall_asleep();
    doorbells[2].fall_asleep();
    boxes[0].try_post(1, Lane::Data, ()).unwrap();
    assert!(doorbells[1].is_asleep(), "not before the turn ends");
    boxes[0].ring_posted();
    assert!(!doorbells[1].is_asleep());
    assert!(doorbells[2].is_asleep());
    doorbells[1].fall_asleep();
    boxes[0].ring_posted();
    assert!(doorbells[1].is_asleep(), "nothing was posted since");
}

#[test]
fn a_sender_that_was_turned_away_is_woken_by_room() {
    let doorbells: Vec<_> = (0..2).map(|_| Doorbell::new().unwrap()).collect();
    let mut boxes = Mailbox::build(TWO, &doorbells);
    for _ in 0..2 {
        boxes[0].try_post(1, Lane::Answer, ()).unwrap();
    }
    doorbells[0].fall_asleep();
    drained(&mut boxes[1], 1);
    assert!(doorbells[0].is_asleep(), "nobody was turned away");
    for _ in 0..2 {
        boxes[0].try_post(1, Lane::Answer, ()).unwrap();
    }
    assert!(boxes[0].try_post(1, Lane::Answer, ()).is_err());
    drained(&mut boxes[1], 1);
    assert!(!doorbells[0].is_asleep());
}

/// The reader makes room, the writer fills it and is turned away before the reader looks for whom
/// to wake: it wakes somebody awake, and has still to wake the writer that sleeps after that.
#[test]
fn a_sender_that_filled_the_room_made_for_it_is_woken_by_more() {
    let doorbells: Vec<_> = (0..2).map(|_| Doorbell::new().unwrap()).collect();
    let mut boxes = Mailbox::build(LaneCapacities { data: 1, answer: 1 }, &doorbells);
    let [writer, reader] = &mut boxes[..] else { unreachable!() };
    writer.try_post(1, Lane::Data, 1).unwrap();
    reader.drain(1, |_, _| {
        writer.try_post(1, Lane::Data, 2).unwrap();
        writer.try_post(1, Lane::Data, 3).unwrap_err();
    });
    doorbells[0].fall_asleep();
    assert!(writer.is_idle(), "the lane is full");
    assert_eq!(drained(reader, 1), [(0, 2)]);
    assert!(!doorbells[0].is_asleep(), "there is room, and nobody says so");
}

#[test]
fn what_was_never_taken_is_dropped_with_the_lanes() {
    let token = Arc::new(());
    let mut boxes = mailboxes(2, TWO);
    boxes[0].try_post(1, Lane::Data, Arc::clone(&token)).unwrap();
    boxes[0].try_post(1, Lane::Answer, Arc::clone(&token)).unwrap();
    assert_eq!(Arc::strong_count(&token), 3);
    drop(boxes);
    assert_eq!(Arc::strong_count(&token), 1);
}

/// A message of the stress test: who sent it, on which lane, as the how-manieth.
#[derive(Debug)]
struct Parcel {
    from: usize,
    lane: Lane,
    number: u64,
    /// Checks that the content came over whole, not only its number.
    check: Box<u64>,
}

fn check(from: usize, lane: Lane, number: u64) -> u64 {
    (number << 8 | (from as u64) << 1 | (lane == Lane::Data) as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// One worker of the stress test: posts `total` parcels on each lane to each other worker, in
/// uneven bursts, and takes what the others post, sleeping whenever it can.
struct Stressed {
    mailbox: Mailbox<Parcel>,
    ring: Ring,
    total: u64,
    sent: Vec<[u64; 2]>,
    got: Vec<[u64; 2]>,
    turned_away: u64,
    sleeps: u64,
}

impl Stressed {
    fn run(&mut self) {
        let start = Instant::now();
        while !self.is_done() {
            assert!(
                start.elapsed() < PATIENCE,
                "worker {} hangs: sent {:?}, got {:?}",
                self.mailbox.me,
                self.sent,
                self.got
            );
            self.take();
            self.post();
            self.mailbox.ring_posted();
            self.sleep();
        }
    }

    fn is_done(&self) -> bool {
        let me = self.mailbox.me;
        let full = [self.total; 2];
        let done = |counts: &[[u64; 2]]| {
            counts.iter().enumerate().all(|(peer, count)| peer == me || *count == full)
        };
        done(&self.sent) && done(&self.got)
    }

    fn take(&mut self) {
        let got = &mut self.got;
        self.mailbox.drain(5, |from, parcel| {
            let expected = &mut got[from][parcel.lane as usize];
            assert_eq!(parcel.from, from);
            assert_eq!(parcel.number, *expected, "lost, doubled or out of order");
            assert_eq!(*parcel.check, check(from, parcel.lane, parcel.number));
            *expected += 1;
        });
    }

    fn post(&mut self) {
        let from = self.mailbox.me;
        for to in 0..self.mailbox.workers() {
            for lane in [Lane::Data, Lane::Answer] {
                let burst = if to == from { 0 } else { 1 + self.sent[to][lane as usize] % 7 };
                for _ in 0..burst {
                    let number = self.sent[to][lane as usize];
                    if number == self.total {
                        break;
                    }
                    let check = Box::new(check(from, lane, number));
                    let parcel = Parcel { from, lane, number, check };
                    if let Err(parcel) = self.mailbox.try_post(to, lane, parcel) {
                        assert_eq!(parcel.number, number, "another message came back");
                        self.turned_away += 1;
                        break;
                    }
                    self.sent[to][lane as usize] += 1;
                }
            }
        }
    }

    /// Sleeps if there is nothing to take, and nothing to post or no room for it. A lost
    /// wake-up shows as a sleep that lasts until the ring gives up.
    fn sleep(&mut self) {
        if self.is_done() || self.could_post() {
            return;
        }
        let mailbox = &mut self.mailbox;
        let mut slept = false;
        let start = Instant::now();
        self.ring
            .wait(Some(PATIENCE), || {
                slept = mailbox.is_idle();
                slept
            })
            .unwrap();
        assert!(start.elapsed() < PATIENCE / 2, "a wake-up was lost");
        self.sleeps += u64::from(slept);
        self.ring.events(|_| {});
    }

    /// Whether it has parcels left for a lane that has not turned it away.
    fn could_post(&self) -> bool {
        let me = self.mailbox.me;
        (0..self.mailbox.workers()).filter(|to| *to != me).any(|to| {
            [Lane::Data, Lane::Answer].into_iter().any(|lane| {
                self.sent[to][lane as usize] < self.total
                    && !self.mailbox.writer(to, lane).waits_for_room
            })
        })
    }
}

fn stress(workers: usize, capacities: LaneCapacities, total: u64) -> (u64, u64) {
    let doorbells: Vec<_> = (0..workers).map(|_| Doorbell::new().unwrap()).collect();
    let boxes = Mailbox::build(capacities, &doorbells);
    let threads: Vec<_> = boxes
        .into_iter()
        .zip(doorbells)
        .map(|(mailbox, doorbell)| {
            thread::spawn(move || {
                let options = RingOptions { entries: 8, buffers: 1, buffer_bytes: 64 };
                let ring = Ring::new(&options, doorbell).unwrap();
                let (sent, got) = (vec![[0; 2]; workers], vec![[0; 2]; workers]);
                let mut worker =
                    Stressed { mailbox, ring, total, sent, got, turned_away: 0, sleeps: 0 };
                worker.run();
                (worker.turned_away, worker.sleeps)
            })
        })
        .collect();
    let counts = threads.into_iter().map(|thread| thread.join().unwrap());
    counts.fold((0, 0), |sum, worker| (sum.0 + worker.0, sum.1 + worker.1))
}

#[test]
fn full_lanes_and_sleeping_workers_lose_nothing() {
    let (turned_away, sleeps) = stress(3, LaneCapacities { data: 1, answer: 1 }, 20_000);
    assert!(turned_away > 1000 && sleeps > 100, "{turned_away} refusals, {sleeps} sleeps");
}

#[test]
fn lanes_of_uneven_depth_lose_nothing() {
    let (turned_away, sleeps) = stress(4, LaneCapacities { data: 16, answer: 3 }, 20_000);
    assert!(turned_away > 100 && sleeps > 10, "{turned_away} refusals, {sleeps} sleeps");
}
