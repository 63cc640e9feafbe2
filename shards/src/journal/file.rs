//! The header of a journal or store file.
//!
//! ```text
//! 0   8    "SHOALLOG"                 24  u64  generation
//! 8   u32  CRC-32 of bytes 12 to 63   32  u64  nonce
//! 12  u16  version                    40  u64  sequence floor
//! 14  u8   role: 1 journal, 2 store   48  16   zero
//! 16  u32  number of the file
//! 20  u16  shard
//! ```
//! Little-endian. The first three fields stay where they are in every version. There are two
//! copies, in different sectors; one good copy is enough.

use alloc::boxed::Box;

use crate::disk::Role;

/// Where a file's entries start.
pub const FILE_HEADER_BYTES: usize = 4096;

const MAGIC: &[u8; 8] = b"SHOALLOG";
const VERSION: u16 = 2;
const COPY_BYTES: usize = 64;
const COPY_OFFSETS: [usize; 2] = [0, 2048];
/// What the checksum covers.
const CHECKED_FROM: usize = 12;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What it is for.
    pub role: Role,
    /// Its number, which its name has as well.
    pub number: u32,
    /// The how-manieth start of the broker on this data path wrote it, from 1.
    pub generation: u64,
    /// Which of that start's shards.
    pub shard: u16,
    /// What the checksums of its entries start with.
    pub nonce: u64,
    /// Every sequence number given before the file was made is lower.
    pub sequence_floor: u64,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// There is nothing in it yet: no bytes, or only zeros.
    Empty,
    /// It was not written by this program.
    NotOurs,
    /// It was written by a version of this program that has another format.
    Version(u16),
    /// Neither copy of the header is good.
    Damaged,
}

impl FileHeader {
    /// The first [`FILE_HEADER_BYTES`] of the file.
    #[must_use]
    pub fn encode(&self) -> Box<[u8; FILE_HEADER_BYTES]> {
        let mut copy = [0; COPY_BYTES];
        copy[..8].copy_from_slice(MAGIC);
        copy[12..14].copy_from_slice(&VERSION.to_le_bytes());
        copy[14] = match self.role {
            Role::Journal => 1,
            Role::Store => 2,
        };
        copy[16..20].copy_from_slice(&self.number.to_le_bytes());
        copy[20..22].copy_from_slice(&self.shard.to_le_bytes());
        copy[24..32].copy_from_slice(&self.generation.to_le_bytes());
        copy[32..40].copy_from_slice(&self.nonce.to_le_bytes());
        copy[40..48].copy_from_slice(&self.sequence_floor.to_le_bytes());
        let crc = crc32fast::hash(&copy[CHECKED_FROM..]);
        copy[8..12].copy_from_slice(&crc.to_le_bytes());

        let mut header = Box::new([0; FILE_HEADER_BYTES]);
        for offset in COPY_OFFSETS {
            header[offset..offset + COPY_BYTES].copy_from_slice(&copy);
        }
        header
    }

    /// Reads the start of a file: its first [`FILE_HEADER_BYTES`], or all of a shorter one.
    ///
    /// # Errors
    /// [`Foreign`] says what the file is instead.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, Foreign> {
        let bytes = &bytes[..bytes.len().min(FILE_HEADER_BYTES)];
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(Foreign::Empty);
        }
        let copies = COPY_OFFSETS.map(|offset| decode_copy(bytes.get(offset..).unwrap_or(&[])));
        // A file that is used again may have been left with one old copy: the newer one counts.
        if let Some(newest) = copies.iter().flatten().max_by_key(|header| header.number) {
            return Ok(*newest);
        }
        let [first, second] = copies.map(|copy| copy.err().unwrap_or(Foreign::NotOurs));
        Err(match (first, second) {
            (Foreign::Version(_), _) => first,
            (_, Foreign::Version(_)) => second,
            (Foreign::Damaged, _) | (_, Foreign::Damaged) => Foreign::Damaged,
            _ => Foreign::NotOurs,
        })
    }
}

fn decode_copy(bytes: &[u8]) -> Result<FileHeader, Foreign> {
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    if magic.is_empty() || !MAGIC.starts_with(magic) {
        return Err(Foreign::NotOurs);
    }
    let copy: &[u8; COPY_BYTES] = bytes.first_chunk().ok_or(Foreign::Damaged)?;
    if u32_at(copy, 8) != crc32fast::hash(&copy[CHECKED_FROM..]) {
        return Err(Foreign::Damaged);
    }
    match u16_at(copy, 12) {
        VERSION => {}
        other => return Err(Foreign::Version(other)),
    }
    let role = match copy[14] {
        1 => Role::Journal,
        2 => Role::Store,
        _ => return Err(Foreign::Damaged),
    };
    Ok(FileHeader {
        role,
        number: u32_at(copy, 16),
        generation: u64_at(copy, 24),
        shard: u16_at(copy, 20),
        nonce: u64_at(copy, 32),
        sequence_floor: u64_at(copy, 40),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |raw| u16::from_le_bytes(*raw))
}

/// A number at an offset that the caller has checked.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |raw| u32::from_le_bytes(*raw))
}

/// A number at an offset that the caller has checked.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |raw| u64::from_le_bytes(*raw))
}

#[cfg(test)]
mod tests {
    use super::{COPY_BYTES, COPY_OFFSETS, FILE_HEADER_BYTES, FileHeader, Foreign, VERSION};
    use crate::disk::Role;

    const HEADER: FileHeader = FileHeader {
        role: Role::Journal,
        number: 0x0102_0304,
        generation: 0x1112_1314_1516_1718,
        shard: 0x2122,
        nonce: 0x3132_3334_3536_3738,
        sequence_floor: 0x4142_4344_4546_4748,
    };

    #[test]
    fn the_format_never_changes() {
        let copy = b"SHOALLOG\xc1\x6c\xd9\x28\x02\0\x01\0\x04\x03\x02\x01\x22\x21\0\0\
            \x18\x17\x16\x15\x14\x13\x12\x11\x38\x37\x36\x35\x34\x33\x32\x31\
            HGFEDCBA\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let header = HEADER.encode();
        for offset in COPY_OFFSETS {
            assert_eq!(header[offset..offset + COPY_BYTES], copy[..]);
        }
        let rest = header.iter().enumerate().filter(|(at, _)| at % 2048 >= COPY_BYTES);
        assert!(rest.into_iter().all(|(_, &byte)| byte == 0));
    }

    #[test]
    fn what_is_written_is_read() {
        for role in [Role::Journal, Role::Store] {
            let header = FileHeader { role, ..HEADER };
            assert_eq!(FileHeader::decode(&header.encode()[..]), Ok(header));
        }
    }

    #[test]
    fn either_copy_is_enough() {
        let whole = HEADER.encode();
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut hit = whole.clone();
            hit[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&hit[..]), Ok(HEADER), "bit {bit}");
        }
        for bit in 0..COPY_BYTES * 8 {
            let mut hit = whole.clone();
            hit[bit / 8] ^= 1 << (bit % 8);
            hit[COPY_OFFSETS[1]..].fill(0xff);
            let expected = if bit < 64 { Foreign::NotOurs } else { Foreign::Damaged };
            assert_eq!(FileHeader::decode(&hit[..]), Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn of_two_good_copies_the_newer_counts() {
        let newer = FileHeader { number: HEADER.number + 1, nonce: 5, ..HEADER };
        for (first, second) in [(HEADER, newer), (newer, HEADER)] {
            let mut torn = first.encode();
            torn[2048..].copy_from_slice(&second.encode()[2048..]);
            assert_eq!(FileHeader::decode(&torn[..]), Ok(newer));
        }
    }

    #[test]
    fn what_is_not_ours_is_told_apart() {
        let whole = HEADER.encode();
        assert_eq!(FileHeader::decode(&[]), Err(Foreign::Empty));
        assert_eq!(FileHeader::decode(&[0; 5000]), Err(Foreign::Empty));
        assert_eq!(FileHeader::decode(b"{\"topics\":[]}"), Err(Foreign::NotOurs));
        assert_eq!(FileHeader::decode(&[0xff; FILE_HEADER_BYTES]), Err(Foreign::NotOurs));
        for length in 1..FILE_HEADER_BYTES {
            let expected = if length < COPY_BYTES { Err(Foreign::Damaged) } else { Ok(HEADER) };
            assert_eq!(FileHeader::decode(&whole[..length]), expected, "{length} bytes");
        }
        let mut newer = whole;
        for offset in COPY_OFFSETS {
            let copy = &mut newer[offset..offset + COPY_BYTES];
            copy[12..14].copy_from_slice(&(VERSION + 1).to_le_bytes());
            let crc = crc32fast::hash(&copy[12..]);
            copy[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(FileHeader::decode(&newer[..]), Err(Foreign::Version(VERSION + 1)));
        newer[9] ^= 1;
        assert_eq!(FileHeader::decode(&newer[..]), Err(Foreign::Version(VERSION + 1)));
    }
}
