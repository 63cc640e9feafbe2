//! Bytes that start at a page of memory, so that a disk can take them from there and put them there
//! without the kernel keeping a copy.

use alloc::vec::Vec;
use core::ops::Deref;

/// What places in files and in memory, and lengths, are multiples of for that.
pub const PAGE_BYTES: usize = 4096;

/// See the module's text. Dereferences to the bytes.
#[derive(Clone, Debug, Default)]
pub struct PageBuffer {
    /// `bytes[start..]` are meant.
    bytes: Vec<u8>,
    start: usize,
}

impl PageBuffer {
    /// `bytes[start..]`, wherever they are in memory.
    #[must_use]
    pub fn new(bytes: Vec<u8>, start: usize) -> PageBuffer {
        assert!(start <= bytes.len(), "a buffer starts behind its end");
        PageBuffer { bytes, start }
    }

    /// Forgets what is in it, and has `append` put in up to `bytes_max`. Zeros follow up to the end
    /// of a page.
    ///
    /// # Panics
    /// When more was put in than was said: the bytes may have moved then.
    pub fn refill(&mut self, bytes_max: usize, append: impl FnOnce(&mut Vec<u8>)) {
        self.start = start_at_page(&mut self.bytes, bytes_max);
        self.bytes.resize(self.start, 0);
        append(&mut self.bytes);
        let used = self.bytes.len() - self.start;
        assert!(used <= bytes_max, "a buffer got more than there was room for");
        self.bytes.resize(self.start + used.next_multiple_of(PAGE_BYTES), 0);
    }
}

/// Empties a buffer and makes room in it for whole pages with so many bytes. Where in it they
/// start.
pub fn start_at_page(bytes: &mut Vec<u8>, wanted: usize) -> usize {
    bytes.clear();
    bytes.reserve(wanted.next_multiple_of(PAGE_BYTES) + PAGE_BYTES);
    bytes.as_ptr().addr().wrapping_neg() % PAGE_BYTES
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::{PAGE_BYTES, PageBuffer};

    #[test]
    fn bytes_start_at_a_page_and_fill_the_last_one() {
        let mut buffer = PageBuffer::default();
        for length in [0, 1, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 300_000, 5] {
            buffer.refill(length, |out| out.extend((0..length).map(|byte| byte as u8)));
            assert_eq!(buffer.as_ptr().addr() % PAGE_BYTES, 0);
            assert_eq!(buffer.len(), length.next_multiple_of(PAGE_BYTES));
            assert!(buffer[..length].iter().enumerate().all(|(at, &byte)| byte == at as u8));
            assert!(buffer[length..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    #[should_panic(expected = "more than there was room for")]
    fn more_than_was_said_is_a_mistake() {
        PageBuffer::default().refill(10, |out| out.resize(10 * PAGE_BYTES, 1));
    }
}
