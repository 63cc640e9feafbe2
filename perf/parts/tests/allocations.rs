//! Nothing is allocated for a message in steady flow: not in any row, and not once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};

use parts::rows::{ROWS, Row};

/// Batches that make everything warm, and then that many that are looked at.
const BATCHES: usize = 16;

thread_local! {
    /// Whether this thread's allocations count: those of the test harness do not.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Where the first one came from.
    static FIRST: RefCell<Option<Backtrace>> = const { RefCell::new(None) };
}

struct Counting;

impl Counting {
    fn note() {
        // What the backtrace itself allocates does not count.
        if !COUNTS.replace(false) {
            return;
        }
        if COUNT.replace(COUNT.get() + 1) == 0 {
            FIRST.set(Some(Backtrace::force_capture()));
        }
        COUNTS.set(true);
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: as the caller has it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: as the caller has it.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::note();
        // SAFETY: as the caller has it.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller has it.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATIONS: Counting = Counting;

/// How often the row allocates when it is warm, and where it does so first.
fn allocations(row: &Row) -> (usize, Option<Backtrace>) {
    let mut script = (row.script)();
    script.prepare(BATCHES);
    script.run(BATCHES);
    script.prepare(BATCHES);
    counted(|| script.run(BATCHES))
}

fn counted(work: impl FnOnce()) -> (usize, Option<Backtrace>) {
    COUNTS.set(true);
    work();
    COUNTS.set(false);
    (COUNT.take(), FIRST.take())
}

/// The innermost frames of our own code, which say enough: where, and what was called there.
fn shown(first: Option<Backtrace>) -> String {
    let text = first.map(|first| first.to_string()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_ours = |place: &str| {
        let is_place = place.starts_with("at ") && !place.contains("/rustc/");
        is_place && !place.contains("tests/allocations.rs")
    };
    let frames = lines.windows(2).filter(|pair| is_ours(pair[1]));
    let frames = frames.take(6).map(|pair| format!("    {} {}", pair[0], pair[1]));
    frames.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_message_allocates_nothing() {
    let mut complaints = Vec::new();
    for row in &ROWS {
        let (count, first) = allocations(row);
        let allowed = row.allocations_max * BATCHES;
        println!("{}: {count} allocations in {BATCHES} batches", row.name);
        if count > allowed {
            let (name, messages, first) = (row.name, row.messages * BATCHES, shown(first));
            complaints.push(format!(
                "{name}: {count} allocations for {messages} messages, {allowed} at most; \
                 the first:\n{first}"
            ));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Each way to allocate is seen, and where; giving back is none.
#[test]
fn canaries() {
    let mut grows = Vec::with_capacity(1);
    grows.push(1_u8);
    let ways: [(&str, &mut dyn FnMut()); 3] = [
        ("alloc", &mut || drop(std::hint::black_box(Box::new(1)))),
        ("alloc_zeroed", &mut || drop(std::hint::black_box(vec![0_u8; 100]))),
        ("realloc", &mut || grows.reserve_exact(1000)),
    ];
    for (way, work) in ways {
        let (count, first) = counted(work);
        assert_eq!(count, 1, "{way}");
        assert!(first.is_some_and(|first| first.to_string().contains("canaries")), "{way}");
    }
    assert_eq!(counted(|| drop(grows)).0, 0);
}
