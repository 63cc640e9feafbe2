//! The same request over and over, sent from one preallocated run of copies.

/// One request, repeated in memory so that many of them go out in one write.
pub struct Pattern {
    bytes: Vec<u8>,
    unit: usize,
}

impl Pattern {
    /// `copies` of `request`, the most that one write will carry.
    pub fn new(request: &[u8], copies: usize) -> Self {
        assert!(!request.is_empty() && copies > 0, "a pattern is never empty");
        Self { bytes: request.repeat(copies), unit: request.len() }
    }
}

/// How far one connection has sent its share of a [`Pattern`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Where in a request the next byte lies.
    phase: usize,
    /// Bytes asked for and not sent.
    unsent: usize,
}

impl Progress {
    /// Asks for `requests` more.
    pub fn push(&mut self, pattern: &Pattern, requests: usize) {
        self.unsent += requests * pattern.unit;
    }

    /// The bytes to write next; empty when nothing is left.
    pub fn next_bytes<'p>(&self, pattern: &'p Pattern) -> &'p [u8] {
        let end = pattern.bytes.len().min(self.phase + self.unsent);
        &pattern.bytes[self.phase..end]
    }

    /// Notes that `written` of them went out.
    pub fn advance(&mut self, pattern: &Pattern, written: usize) {
        assert!(written <= self.unsent, "more written than asked for");
        self.unsent -= written;
        self.phase = (self.phase + written) % pattern.unit;
    }

    /// Everything asked for has been sent.
    pub fn is_done(&self) -> bool {
        self.unsent == 0
    }

    /// The last byte sent was the last of a request.
    pub fn is_between(&self) -> bool {
        self.phase == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_of_every_length_leave_the_stream_whole() {
        let pattern = Pattern::new(b"abcde", 3);
        for step in 1..=15 {
            let mut progress = Progress::default();
            let mut sent = Vec::new();
            for pushed in [1, 3, 2] {
                progress.push(&pattern, pushed);
                // One write per push: the next push finds some of it unsent.
                let bytes = progress.next_bytes(&pattern);
                let written = bytes.len().min(step);
                sent.extend_from_slice(&bytes[..written]);
                progress.advance(&pattern, written);
            }
            while !progress.is_done() {
                let bytes = progress.next_bytes(&pattern);
                assert!(!bytes.is_empty());
                let written = bytes.len().min(step);
                sent.extend_from_slice(&bytes[..written]);
                progress.advance(&pattern, written);
            }
            assert_eq!(sent, b"abcde".repeat(6), "steps of {step}");
            assert!(progress.is_between());
        }
    }
}
