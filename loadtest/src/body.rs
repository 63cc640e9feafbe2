//! Bodies: how large each is, what is in it, and how a receiver tells that it came whole.
//!
//! A body begins with a stamp (which run, which message, when it was meant to be sent, and a
//! checksum over all of it); the rest is filler that compresses about as well as text. The size of
//! a message follows from its number, so that sender and receiver agree without talking.

use std::path::Path;

use crc32fast::Hasher;

use crate::{Error, Result};

/// Bytes of the stamp: no body is smaller.
pub const STAMP_BYTES: usize = RUN_BYTES + NUMBER_BYTES + DUE_BYTES + SUM_BYTES;

/// No body is larger.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

const RUN_BYTES: usize = 4;
const NUMBER_BYTES: usize = 8;
const DUE_BYTES: usize = 8;
const SUM_BYTES: usize = 4;

/// Sizes that a file may list.
const LISTED_MAX: usize = 1_000_000;

/// How large bodies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All alike.
    Fixed(usize),
    /// Any from the first to the last, equally often.
    Range(usize, usize),
    /// One after the other, and round again.
    List(Vec<usize>),
}

/// What a received body turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// As it was sent.
    Whole {
        /// Which message.
        number: u64,
        /// When it was meant to be sent, in nanoseconds of the run's clock.
        due_ns: u64,
    },
    /// Not what anybody sent.
    Corrupt,
    /// Of another run, or of another program.
    Foreign,
}

/// The bodies of one run.
pub struct Bodies {
    sizes: Sizes,
    run: u32,
    filler: Vec<u8>,
    /// Checksums of the filler's beginnings, from that of the smallest body on.
    sums: Vec<u32>,
    verify: bool,
}

impl Sizes {
    /// `200`, `100-2000`, or `@FILE` with a size in each line.
    pub fn parse(text: &str) -> Result<Self> {
        let size = |text: &str| {
            let size = text.trim().parse::<usize>();
            size.map_err(|_| Error::Unfit(format!("{text:?} is no size in bytes")))
        };
        let sizes = match (text.strip_prefix('@'), text.split_once('-')) {
            (Some(path), _) => Self::listed(Path::new(path), size)?,
            (None, Some((min, max))) => Self::Range(size(min)?, size(max)?),
            (None, None) => Self::Fixed(size(text)?),
        };
        let (min, max) = (sizes.min(), sizes.max());
        if min == 0 || max > BODY_BYTES_MAX || sizes.is_reversed() {
            let text = format!("sizes go from 1 to {BODY_BYTES_MAX}, the smaller one first");
            return Err(Error::Unfit(text));
        }
        Ok(sizes)
    }

    fn listed(path: &Path, size: impl Fn(&str) -> Result<usize>) -> Result<Self> {
        let named = |error| Error::Unfit(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(named)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let all = lines.take(LISTED_MAX + 1).map(size).collect::<Result<Vec<_>>>()?;
        if all.is_empty() || all.len() > LISTED_MAX {
            let text = format!("{} has to list 1 to {LISTED_MAX} sizes", path.display());
            return Err(Error::Unfit(text));
        }
        Ok(Self::List(all))
    }

    fn is_reversed(&self) -> bool {
        matches!(self, Self::Range(min, max) if min > max)
    }

    /// The smallest.
    pub fn min(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Range(min, _) => *min,
            Self::List(all) => all.iter().copied().min().unwrap_or(0),
        }
    }

    /// The largest.
    pub fn max(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Range(_, max) => *max,
            Self::List(all) => all.iter().copied().max().unwrap_or(0),
        }
    }

    /// Of message `number`.
    fn of(&self, number: u64) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Range(min, max) => {
                let span = (max - min + 1) as u64;
                min + (mix(number) % span) as usize
            }
            Self::List(all) => all[(number % all.len() as u64) as usize],
        }
    }
}

impl Bodies {
    /// Bodies of a run that nobody else has; without `verify` their checksums are left out.
    pub fn new(sizes: Sizes, verify: bool) -> Result<Self> {
        if sizes.min() < STAMP_BYTES {
            let text = format!("a body needs {STAMP_BYTES} bytes to say which message it is");
            return Err(Error::Unfit(text));
        }
        let filler = filler(sizes.max() - STAMP_BYTES);
        let from = sizes.min() - STAMP_BYTES;
        let sums = if verify { beginnings(&filler, from) } else { Vec::new() };
        Ok(Self { sizes, run: new_run(), filler, sums, verify })
    }

    /// The size of message `number`.
    pub fn size(&self, number: u64) -> usize {
        self.sizes.of(number)
    }

    /// The largest of all.
    pub fn size_max(&self) -> usize {
        self.sizes.max()
    }

    /// Checksums are made and compared.
    pub fn verify(&self) -> bool {
        self.verify
    }

    /// Appends the body of message `number`.
    #[inline]
    pub fn append(&self, out: &mut Vec<u8>, number: u64, due_ns: u64) {
        let filler = &self.filler[..self.size(number) - STAMP_BYTES];
        let mut stamp = [0; STAMP_BYTES];
        stamp[..4].copy_from_slice(&self.run.to_be_bytes());
        stamp[4..12].copy_from_slice(&number.to_be_bytes());
        stamp[12..20].copy_from_slice(&due_ns.to_be_bytes());
        if self.verify {
            let before = self.sums[filler.len() - (self.sizes.min() - STAMP_BYTES)];
            let sum = sum_from(before, &stamp[..STAMP_BYTES - SUM_BYTES]);
            stamp[20..].copy_from_slice(&sum.to_be_bytes());
        }
        out.extend_from_slice(&stamp);
        out.extend_from_slice(filler);
    }

    /// Says what a received body is.
    #[inline]
    pub fn check(&self, body: &[u8]) -> Checked {
        let Some((stamp, filler)) = body.split_first_chunk::<STAMP_BYTES>() else {
            return Checked::Foreign;
        };
        if self.verify {
            let sum = sum_from(crc32fast::hash(filler), &stamp[..STAMP_BYTES - SUM_BYTES]);
            if stamp[20..] != sum.to_be_bytes() {
                return Checked::Corrupt;
            }
        }
        if stamp[..4] != self.run.to_be_bytes() {
            return Checked::Foreign;
        }
        Checked::Whole { number: number_at(stamp, 4), due_ns: number_at(stamp, 12) }
    }
}

fn number_at(stamp: &[u8; STAMP_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&stamp[at..at + 8]);
    u64::from_be_bytes(bytes)
}

/// Goes on with a checksum.
fn sum_from(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

/// The checksums of all beginnings of `bytes` of at least `from` bytes.
fn beginnings(bytes: &[u8], from: usize) -> Vec<u32> {
    let mut sums = Vec::with_capacity(bytes.len() - from + 1);
    let mut sum = crc32fast::hash(&bytes[..from]);
    sums.push(sum);
    for byte in &bytes[from..] {
        sum = sum_from(sum, std::slice::from_ref(byte));
        sums.push(sum);
    }
    sums
}

/// Letters of which a compressor can save about half.
fn filler(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| b'a' + (mix(at) % 16) as u8).collect()
}

fn new_run() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since_ns = now.map_or(0, |since| since.as_nanos() as u64);
    mix(since_ns ^ (u64::from(std::process::id()) << 32)) as u32
}

/// Scatters a number over all 64 bits.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bodies: &Bodies, number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        bodies.append(&mut out, number, 77);
        out
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bodies = Bodies::new(Sizes::Range(24, 300), true).unwrap();
        for number in 0..20 {
            let whole = body(&bodies, number);
            assert_eq!(whole.len(), bodies.size(number));
            assert_eq!(bodies.check(&whole), Checked::Whole { number, due_ns: 77 });
            for bit in 0..whole.len() * 8 {
                let mut bad = whole.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(bodies.check(&bad), Checked::Corrupt, "bit {bit}");
            }
            for length in 0..whole.len() {
                assert!(!matches!(bodies.check(&whole[..length]), Checked::Whole { .. }));
            }
        }
    }

    #[test]
    fn another_runs_bodies_are_foreign_and_without_checksums_numbers_remain() {
        let ours = Bodies::new(Sizes::Fixed(50), true).unwrap();
        let theirs = Bodies { run: ours.run + 1, ..Bodies::new(Sizes::Fixed(50), true).unwrap() };
        assert_eq!(ours.check(&body(&theirs, 3)), Checked::Foreign);
        assert_eq!(ours.check(b"hello"), Checked::Foreign);
        let plain = Bodies::new(Sizes::Fixed(50), false).unwrap();
        assert_eq!(plain.check(&body(&plain, 3)), Checked::Whole { number: 3, due_ns: 77 });
    }

    #[test]
    fn sizes_are_fixed_ranged_or_listed() {
        assert_eq!(Sizes::parse("200").unwrap(), Sizes::Fixed(200));
        let range = Sizes::parse("100-103").unwrap();
        let mut seen: Vec<usize> = (0..100).map(|number| range.of(number)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [100, 101, 102, 103]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sizes");
        std::fs::write(&path, "30\n40\n\n50\n").unwrap();
        let listed = Sizes::parse(&format!("@{}", path.display())).unwrap();
        assert_eq!((0..4).map(|at| listed.of(at)).collect::<Vec<_>>(), [30, 40, 50, 30]);
        std::fs::write(&path, "30\nforty\n").unwrap();
        assert!(Sizes::parse(&format!("@{}", path.display())).is_err());
        for wrong in ["", "0", "x", "9-3", "0-5", "99999999999", "@/nonexistent"] {
            assert!(Sizes::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Bodies::new(Sizes::Fixed(23), true).is_err());
    }
}
