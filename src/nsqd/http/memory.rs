//! The process's memory in the words of Go's runtime, as far as they mean something here.

use serde::Serialize;

/// `/stats` names for memory. There is no garbage collector, so its pauses and runs are 0, and the
/// allocator does not count objects.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct MemoryStats {
    /// Always 0: not counted.
    pub heap_objects: u64,
    /// Bytes that the allocator holds and nobody uses.
    pub heap_idle_bytes: u64,
    /// Bytes in use.
    pub heap_in_use_bytes: u64,
    /// Always 0: what was given back to the system is not counted.
    pub heap_released_bytes: u64,
    /// Always 0.
    pub gc_pause_usec_100: u64,
    /// Always 0.
    pub gc_pause_usec_99: u64,
    /// Always 0.
    pub gc_pause_usec_95: u64,
    /// Always 0.
    pub next_gc_bytes: u64,
    /// Always 0.
    pub gc_total_runs: u64,
}

impl MemoryStats {
    /// Names and values in the order in which they are shown.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, u64); 9] {
        [
            ("heap_objects", self.heap_objects),
            ("heap_idle_bytes", self.heap_idle_bytes),
            ("heap_in_use_bytes", self.heap_in_use_bytes),
            ("heap_released_bytes", self.heap_released_bytes),
            ("gc_pause_usec_100", self.gc_pause_usec_100),
            ("gc_pause_usec_99", self.gc_pause_usec_99),
            ("gc_pause_usec_95", self.gc_pause_usec_95),
            ("next_gc_bytes", self.next_gc_bytes),
            ("gc_total_runs", self.gc_total_runs),
        ]
    }
}

/// Memory now. Asks the allocator, which locks its arenas one after the other: microseconds.
#[cfg(target_env = "gnu")]
#[must_use]
pub fn read() -> MemoryStats {
    // SAFETY: the function has no precondition and returns a plain value.
    let info = unsafe { libc::mallinfo2() };
    MemoryStats {
        heap_idle_bytes: info.fordblks as u64,
        heap_in_use_bytes: (info.uordblks + info.hblkhd) as u64,
        ..MemoryStats::default()
    }
}

/// Memory now: without glibc nobody counts what is in use, so what is resident stands for it.
#[cfg(not(target_env = "gnu"))]
#[must_use]
pub fn read() -> MemoryStats {
    const PAGE_BYTES: u64 = 4096;
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
    MemoryStats { heap_in_use_bytes: resident.unwrap_or(0) * PAGE_BYTES, ..MemoryStats::default() }
}

/// Gives memory that nobody uses back to the system.
#[cfg(target_env = "gnu")]
pub fn release() {
    // SAFETY: the function has no precondition; the allocator locks what it touches.
    unsafe { libc::malloc_trim(0) };
}

/// Gives memory that nobody uses back to the system: without glibc there is no way to ask for it.
#[cfg(not(target_env = "gnu"))]
pub fn release() {}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_env = "gnu")]
    fn memory_in_use_is_counted() {
        let before = super::read();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let during = super::read();
        assert!(during.heap_in_use_bytes >= before.heap_in_use_bytes + (48 << 20));
        drop(held);
        super::release();
    }
}
