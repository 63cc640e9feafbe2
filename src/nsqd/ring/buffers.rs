//! The receive buffers that a ring shares with the kernel: the kernel picks one when bytes are
//! there, so that an idle connection holds none.

use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::limits::{BUFFER_BYTES_MAX, BUFFERS_MAX};

/// Memory of whole pages, as the kernel wants it for a ring of buffers.
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> io::Result<Pages> {
        // SAFETY: an anonymous mapping where the kernel chooses touches nothing of ours.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Pages { start, bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and no reference into it outlives its owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A ring of buffers. Each is either the kernel's to fill, or lent to the caller of `events`.
pub(super) struct BufferRing {
    /// One entry per buffer that the kernel may fill; the tail hides in the first entry.
    entries: Pages,
    /// The buffers themselves, one after the other.
    data: Pages,
    count: u16,
    buffer_bytes: usize,
    /// How many buffers were ever given to the kernel, wrapping.
    tail: u16,
}

impl BufferRing {
    /// The only group of buffers in a ring.
    pub const GROUP: u16 = 0;

    /// Allocates the buffers and gives all of them to the kernel, which learns of them when
    /// [`BufferRing::address`] is registered.
    pub fn new(count: u16, buffer_bytes: usize) -> io::Result<BufferRing> {
        assert!(count.is_power_of_two() && count <= BUFFERS_MAX, "{count} receive buffers");
        assert!((1..=BUFFER_BYTES_MAX).contains(&buffer_bytes), "buffers of {buffer_bytes} bytes");
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let data = Pages::new(usize::from(count) * buffer_bytes)?;
        let mut ring = BufferRing { entries, data, count, buffer_bytes, tail: 0 };
        for id in 0..count {
            ring.give_back(id);
        }
        Ok(ring)
    }

    /// Where the entries are, for registering them.
    pub fn address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    /// How many buffers there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Takes the buffer that the kernel filled with `len` bytes; it goes back when the loan ends.
    pub fn lend(&mut self, id: u16, len: usize) -> Loan<'_> {
        assert!(id < self.count, "the kernel named buffer {id} of {}", self.count);
        assert!(len <= self.buffer_bytes, "the kernel wrote {len} bytes into a buffer");
        Loan { ring: self, id, len }
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        // SAFETY: `id` is below `count` (checked by `lend`, or counted by `new`), so the buffer
        // lies within `data`.
        unsafe { self.data.start.as_ptr().add(usize::from(id) * self.buffer_bytes) }
    }

    fn give_back(&mut self, id: u16) {
        let address = self.buffer(id) as u64;
        let index = usize::from(self.tail & (self.count - 1));
        let first = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `index` is below `count`, so the entry lies within `entries`; the kernel reads
        // it only after the tail below says so, and a group never has more buffers than entries.
        let entry = unsafe { &mut *first.add(index) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies within the first entry, is aligned for a u16, and is written by
        // this thread only; the kernel reads it with acquire.
        let tail = unsafe { &*BufRingEntry::tail(first).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

/// A filled buffer in the hands of the caller. Dropping it gives the buffer back, also when the
/// caller panics, so that no buffer is ever lost.
pub(super) struct Loan<'a> {
    ring: &'a mut BufferRing,
    id: u16,
    len: usize,
}

impl Deref for Loan<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel wrote `len` bytes, at most a buffer, and does not touch the buffer
        // again before `drop` gives it back.
        unsafe { std::slice::from_raw_parts(self.ring.buffer(self.id), self.len) }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.ring.give_back(self.id);
    }
}
