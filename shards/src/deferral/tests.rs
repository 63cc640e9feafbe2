//! The index of deferred messages beside a map of them, in memory and on the disk.

use super::{Deferrals, Entry, Next};
use crate::disk::Place;
use crate::log::Pool;
use crate::log::pool::CHUNK_BYTES;
use crate::store::Space;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Reads are asked for so long before they are due.
const LEAD_MS: u64 = 500;

fn space(limit_bytes: usize) -> Space {
    let grow = || Some(Box::leak(vec![0; CHUNK_BYTES].into_boxed_slice()));
    Space::new(Pool::new(limit_bytes, Box::new(grow)), 100 << 20)
}

/// A disk, and what was put on it.
#[derive(Default)]
struct Disk {
    places: BTreeMap<u32, Vec<u8>>,
}

impl Disk {
    fn store(&mut self, index: &mut Deferrals, max: usize, succeeds: bool) {
        for id in index.store(max) {
            let bytes = index.chunk_bytes(id).unwrap().to_vec();
            let offset = self.places.len() as u32;
            let place = Place { file: 1, offset, bytes: bytes.len() as u32 };
            self.places.insert(offset, bytes);
            match succeeds {
                true => assert_eq!(index.stored(id, place), None),
                false => index.not_stored(id),
            }
        }
    }

    /// Reads what is wanted. `spoil` changes the bytes.
    fn load(&self, index: &mut Deferrals, now_ms: u64, space: &mut Space, spoil: bool) {
        while let Some((id, place)) = index.load(now_ms, LEAD_MS) {
            let mut bytes = self.places[&place.offset].clone();
            bytes[0] ^= u8::from(spoil);
            let block = space.pool.take_anyway(place.bytes as usize);
            index.loaded(id, (block, Some(&bytes)), now_ms, space);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many, with delays below that.
    Insert(usize, u64),
    /// As after a publish of one delay.
    InsertRow(usize, u64),
    Advance(u64),
    Store(usize, bool),
    Evict,
    Forget(u64, u64),
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_usize..400, 1_u64..100_000).prop_map(|(count, to)| Step::Insert(count, to)),
        2 => (1_usize..1500, 1_u64..100_000).prop_map(|(count, to)| Step::InsertRow(count, to)),
        3 => (0_u64..20_000).prop_map(Step::Advance),
        2 => (1_usize..9, any::<bool>()).prop_map(|(max, goes)| Step::Store(max, goes)),
        2 => Just(Step::Evict),
        1 => (0_u64..20_000, 0_u64..50).prop_map(|(at, long)| Step::Forget(at, long)),
        1 => Just(Step::Leave),
    ]
}

/// Takes out all that is due, as a sorted map would.
fn expect_due(
    index: &mut Deferrals,
    model: &mut BTreeMap<(u64, u64), u16>,
    now_ms: u64,
    (space, disk): (&mut Space, &Disk),
) {
    loop {
        disk.load(index, now_ms, space, false);
        match index.pop(now_ms, space) {
            Next::Cold => unreachable!("all that is due was read"),
            Next::Later => break,
            Next::Due(Entry { due_ms, sequence, attempts }) => {
                let first = model.pop_first();
                assert_eq!(first, Some(((due_ms, sequence), attempts)));
            }
        }
    }
    assert!(model.keys().next().is_none_or(|&(due_ms, _)| due_ms > now_ms));
    // Nothing is missed: there is something to do at the latest when the next is due.
    let wake_ms = index.wake_ms(LEAD_MS);
    match model.keys().next() {
        Some(&(due_ms, _)) => assert!(wake_ms.is_some_and(|wake_ms| wake_ms <= due_ms)),
        None => assert_eq!(wake_ms, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn gives_what_a_sorted_map_would(
        steps in prop::collection::vec(step(), 1..40),
        fresh_max in prop_oneof![2_usize..40, 500_usize..3000],
        seed in any::<u64>(),
    ) {
        let (mut space, mut disk) = (space(8 << 20), Disk::default());
        let (mut index, mut model) = (Deferrals::default(), BTreeMap::new());
        let (mut now_ms, mut next, mut random) = (1_000_000, 0_u64, seed | 1);
        let mut pick = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for step in steps {
            match step {
                Step::Insert(count, to) | Step::InsertRow(count, to) => {
                    let row = matches!(step, Step::InsertRow(..));
                    for _ in 0..count {
                        let due_ms = now_ms + if row { to } else { pick(to) };
                        let attempts = if pick(4) == 0 { pick(1 << 16) as u16 } else { 0 };
                        let entry = Entry { due_ms, sequence: next, attempts };
                        next += 1 + pick(3);
                        index.insert(entry, fresh_max, &mut space.pool);
                        model.insert((due_ms, entry.sequence), attempts);
                    }
                }
                Step::Advance(by) => {
                    now_ms += by;
                    expect_due(&mut index, &mut model, now_ms, (&mut space, &disk));
                }
                Step::Store(max, succeeds) => disk.store(&mut index, max, succeeds),
                Step::Evict => index.evict(usize::MAX / 2, 0, &mut space.pool),
                Step::Forget(first, long) => {
                    let range = crate::journal::state::Range { first, last: first + long };
                    let before = model.len();
                    model.retain(|&(_, sequence), _| !(first..=first + long).contains(&sequence));
                    prop_assert_eq!(index.remove_range(range), (before - model.len()) as u64);
                }
                Step::Leave => {
                    index.leave_file(1, &mut space);
                    for (id, place) in index.load_from(1) {
                        let block = space.pool.take_anyway(place.bytes as usize);
                        let bytes = Some(&disk.places[&place.offset][..]);
                        index.loaded(id, (block, bytes), now_ms, &mut space);
                    }
                }
            }
            index.settle(&mut space);
            prop_assert_eq!(index.members().len(), model.len() as u64);
        }
        expect_due(&mut index, &mut model, u64::MAX / 2, (&mut space, &disk));
        prop_assert!(model.is_empty());
        index.clear(&mut space);
        prop_assert_eq!(space.pool.used_bytes(), 0);
    }
}

fn filled(count: u64, delay: impl Fn(u64) -> u64, space: &mut Space) -> Deferrals {
    let mut index = Deferrals::default();
    for sequence in 0..count {
        let entry = Entry { due_ms: delay(sequence), sequence, attempts: 0 };
        index.insert(entry, super::FRESH_MAX, &mut space.pool);
    }
    index.settle(space);
    index
}

#[test]
fn a_million_of_one_delay_take_little() {
    let mut space = space(64 << 20);
    let mut index = filled(1 << 20, |sequence| 1_000_000 + sequence / 50, &mut space);
    assert!(space.pool.used_bytes() < 4 << 20, "{}", space.pool.used_bytes());
    index.clear(&mut space);
    let mut index = filled(1 << 20, |sequence| sequence * 7919 % (1 << 30), &mut space);
    assert!(space.pool.used_bytes() < 10 << 20, "{}", space.pool.used_bytes());
    index.clear(&mut space);
    assert_eq!(space.pool.used_bytes(), 0);
}

#[test]
fn on_the_disk_it_takes_next_to_nothing() {
    let (mut space, mut disk) = (space(64 << 20), Disk::default());
    let mut index = filled(1 << 18, |sequence| sequence * 7919 % (1 << 30), &mut space);
    disk.store(&mut index, usize::MAX, true);
    index.evict(usize::MAX / 2, 0, &mut space.pool);
    index.settle(&mut space);
    assert!(space.pool.used_bytes() < 200 << 10, "{}", space.pool.used_bytes());
    let mut count = 0;
    loop {
        match index.pop(u64::MAX / 2, &mut space) {
            Next::Cold => disk.load(&mut index, u64::MAX / 2 - LEAD_MS, &mut space, false),
            Next::Later => break,
            Next::Due(_) => count += 1,
        }
    }
    assert_eq!((count, space.pool.used_bytes()), (1 << 18, 0));
}

/// A run whose chunk comes to its end goes on without a read.
#[test]
fn the_next_chunks_are_read_before_they_are_due() {
    let (mut space, mut disk) = (space(64 << 20), Disk::default());
    // One run of several chunks, all of it due within the lead.
    let count = super::FRESH_MAX as u64;
    let due_ms = |sequence: u64| 10_000 + sequence * 7919 % LEAD_MS;
    let mut index = filled(count, due_ms, &mut space);
    disk.store(&mut index, usize::MAX, true);
    index.evict(usize::MAX / 2, 0, &mut space.pool);
    assert!(index.chunks.len() >= super::CHUNKS_AHEAD, "{} chunks", index.chunks.len());
    assert_eq!(index.wake_ms(LEAD_MS), Some(10_000 - LEAD_MS));
    disk.load(&mut index, 10_000, &mut space, false);
    // What is due soon stays.
    index.evict(usize::MAX / 2, 10_000 + LEAD_MS, &mut space.pool);
    let here = index.chunks.values().filter(|chunk| chunk.block.is_some()).count();
    assert_eq!(here, super::CHUNKS_AHEAD.min(index.chunks.len()));
    let mut popped = 0;
    while let Next::Due(_) = index.pop(10_000 + LEAD_MS, &mut space) {
        popped += 1;
    }
    let first = index.chunks.values().map(|chunk| u64::from(chunk.count)).sum::<u64>();
    assert_eq!(popped + first, count, "all that was read was due");
}

/// What cannot be read comes behind everything else, and not before its time.
#[test]
fn a_chunk_that_is_damaged_delays_its_messages() {
    let (mut space, mut disk) = (space(8 << 20), Disk::default());
    let mut index = Deferrals::default();
    for sequence in 0..40_u64 {
        let entry = Entry { due_ms: 1000 + sequence, sequence, attempts: 0 };
        index.insert(entry, 20, &mut space.pool);
    }
    disk.store(&mut index, 9, true);
    index.evict(usize::MAX / 2, 0, &mut space.pool);
    // Both runs are read; the first one is given up when it was tried often enough.
    let mut now_ms = 1000;
    for _ in 0..super::READS_MAX {
        assert_eq!(index.pop(now_ms, &mut space), Next::Cold);
        let (id, place) = index.load(now_ms, 0).unwrap();
        let block = space.pool.take_anyway(place.bytes as usize);
        index.loaded(id, (block, None), now_ms, &mut space);
        now_ms += 1000;
    }
    let mut found = Vec::new();
    loop {
        match index.pop(now_ms, &mut space) {
            Next::Cold => disk.load(&mut index, now_ms, &mut space, false),
            Next::Later => break,
            Next::Due(entry) => found.push(entry.sequence),
        }
    }
    let expected: Vec<u64> = (20..40).chain(0..20).collect();
    assert_eq!(found, expected);
}

/// Without memory it is noted all the same what is due when, and publishers have to wait.
#[test]
fn without_memory_the_limit_is_passed() {
    let mut space = space(2 << 20);
    let blocks: Vec<_> = core::iter::from_fn(|| space.pool.take(0, 1)).collect();
    let mut index = Deferrals::default();
    for sequence in 0..1000 {
        let entry = Entry { due_ms: 5000 - sequence, sequence, attempts: 0 };
        index.insert(entry, 100, &mut space.pool);
    }
    index.settle(&mut space);
    assert!(!space.pool.has_room(0) && space.pool.used_bytes() < (2 << 20) + 10_000);
    blocks.into_iter().for_each(|block| space.pool.give_back(block));
    for sequence in (0..1000).rev() {
        assert!(matches!(index.pop(5000, &mut space), Next::Due(e) if e.sequence == sequence));
    }
    assert_eq!((index.pop(5000, &mut space), space.pool.used_bytes()), (Next::Later, 0));
}

/// A consumer puts a message off, a seek has it come again, and it is put off anew.
#[test]
fn what_is_kept_back_again_is_due_then_and_not_when_it_was_before() {
    // In the heap, and in runs.
    for fresh_max in [100, 2] {
        let mut space = space(2 << 20);
        let mut index = Deferrals::default();
        let entry = |sequence, due_ms, attempts| Entry { due_ms, sequence, attempts };
        for sequence in 1..=4 {
            index.insert(entry(sequence, 1000, 5), fresh_max, &mut space.pool);
        }
        let range = crate::journal::state::Range { first: 0, last: 2 };
        for (due_ms, attempts) in [(1500, 1), (2000, 2)] {
            assert_eq!(index.remove_range(range), if due_ms == 1500 { 2 } else { 1 });
            index.insert(entry(1, due_ms, attempts), fresh_max, &mut space.pool);
        }
        index.insert(entry(2, 500, 1), fresh_max, &mut space.pool);
        let mut told = Vec::new();
        index.each(|entry| told.push((entry.sequence, entry.due_ms)));
        told.sort_unstable();
        assert_eq!(told, [(1, 2000), (2, 500), (3, 1000), (4, 1000)]);
        let due = |index: &mut Deferrals, now_ms, space: &mut Space| {
            let mut all = Vec::new();
            while let Next::Due(entry) = index.pop(now_ms, space) {
                all.push((entry.sequence, entry.attempts));
            }
            all
        };
        assert_eq!(due(&mut index, 1999, &mut space), [(2, 1), (3, 5), (4, 5)]);
        assert_eq!(due(&mut index, 2000, &mut space), [(1, 2)]);
        assert_eq!((index.wake_ms(0), space.pool.used_bytes()), (None, 0));
    }
}
