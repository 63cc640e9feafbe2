//! The same few requests over and over, sent from one preallocated run of copies.

/// One request, or a round of equally long ones, repeated in memory so that many of them go out in
/// one write.
pub struct Pattern {
    bytes: Vec<u8>,
    /// Bytes of one request.
    unit: usize,
    /// Bytes of a round of all of them.
    round: usize,
}

impl Pattern {
    /// `copies` of `request`, the most that one write will carry.
    pub fn new(request: &[u8], copies: usize) -> Self {
        Self::of_round(&[request.to_vec()], copies)
    }

    /// A round of requests of one length; from each of them on, `copies` lie there in one piece.
    pub fn of_round(requests: &[Vec<u8>], copies: usize) -> Self {
        let unit = requests.first().map_or(0, Vec::len);
        assert!(unit > 0 && copies > 0, "a pattern is never empty");
        assert!(requests.iter().all(|request| request.len() == unit), "all of one length");
        let in_a_row = requests.iter().cycle().take(requests.len() + copies - 1);
        let bytes = in_a_row.flatten().copied().collect();
        Self { bytes, unit, round: unit * requests.len() }
    }
}

/// How far one connection has sent its share of a [`Pattern`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Where in the round the next byte lies.
    phase: usize,
    /// Bytes asked for and not sent.
    unsent: usize,
}

impl Progress {
    /// Begins with the `request`-th of the round instead of the first.
    pub fn starting_at(pattern: &Pattern, request: usize) -> Self {
        Self { phase: request * pattern.unit % pattern.round, unsent: 0 }
    }

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
        self.phase = (self.phase + written) % pattern.round;
    }

    /// Everything asked for has been sent.
    pub fn is_done(&self) -> bool {
        self.unsent == 0
    }

    /// The last byte sent was the last of a request.
    pub fn is_between(&self, pattern: &Pattern) -> bool {
        self.phase.is_multiple_of(pattern.unit)
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
            assert!(progress.is_between(&pattern));
        }
    }

    #[test]
    fn a_round_goes_on_where_it_stopped_and_starts_where_it_is_told_to() {
        let round = [b"ab".to_vec(), b"cd".to_vec(), b"ef".to_vec()];
        let pattern = Pattern::of_round(&round, 2);
        for written_max in 1..=4 {
            let mut progress = Progress::starting_at(&pattern, 4);
            let mut sent = Vec::new();
            for _ in 0..4 {
                progress.push(&pattern, 2);
                assert_eq!(progress.next_bytes(&pattern).len(), 4, "two go out in one write");
                while !progress.is_done() {
                    let bytes = progress.next_bytes(&pattern);
                    let written = bytes.len().min(written_max);
                    sent.extend_from_slice(&bytes[..written]);
                    progress.advance(&pattern, written);
                }
                assert!(progress.is_between(&pattern));
            }
            assert_eq!(sent, b"cdefabcdefabcdef", "writes of {written_max}");
        }
    }
}
