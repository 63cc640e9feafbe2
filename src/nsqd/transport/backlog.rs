//! Bytes that wait, oldest first.

/// A buffer that grew beyond this is given up when it runs empty: idle connections are small.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// Bytes are added behind and taken in front.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    taken: usize,
}

impl Backlog {
    /// What waits.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Where more is written behind what waits.
    pub fn end(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.clear();
        } else if self.taken * 2 >= self.bytes.len() {
            // Moving what is left costs no more than taking what was there did.
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        &mut self.bytes
    }

    /// The first `count` bytes are done with.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        assert!(self.taken <= self.bytes.len(), "more was taken than was there");
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.taken = 0;
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backlog, KEPT_BYTES_MAX};

    #[test]
    fn what_is_added_comes_out_once_and_in_order() {
        let mut backlog = Backlog::default();
        let mut expected = 0_u8;
        for round in 0..200_u8 {
            backlog.end().extend([round.wrapping_mul(2), round.wrapping_mul(2).wrapping_add(1)]);
            let count = usize::from(round % 4).min(backlog.bytes().len());
            for &byte in &backlog.bytes()[..count] {
                assert_eq!(byte, expected);
                expected = expected.wrapping_add(1);
            }
            backlog.take(count);
        }
        backlog.end().extend([0; 2 * KEPT_BYTES_MAX]);
        backlog.take(backlog.bytes().len());
        assert!(backlog.is_empty());
        assert_eq!(backlog.bytes.capacity(), 0, "idle connections are small");
    }
}
