//! Message ids: 16 lower-case hex characters that hold the message's sequence number.
//!
//! `id = sequence << 10 | node`. Sequences of a topic count up by one from a number taken from the
//! clock when the topic is created, so they rise over restarts, differ between nodes, and lead
//! FIN to its message by a subtraction instead of a hash. (The original packs a timestamp into
//! the same bits; nobody but nsqd reads them.)

/// Bits of the node id (NSQ: 0 to 1023).
const NODE_BITS: u32 = 10;
/// Nanoseconds per sequence number, as a shift: a topic that publishes less than 7.8 million
/// messages a second for its whole life never overtakes the clock.
const NANOSECONDS_SHIFT: u32 = 7;
/// 2026-01-01T00:00:00Z. With the shift above, ids last until 2099.
const EPOCH_NS: i64 = 1_767_225_600 * 1_000_000_000;

/// The first sequence number of a topic created at this time.
#[must_use]
pub fn first_sequence(wall_ns: i64) -> u64 {
    // A clock before 2026 gives 1: ids then rise from there.
    u64::try_from(wall_ns - EPOCH_NS).unwrap_or(0).max(1 << NANOSECONDS_SHIFT) >> NANOSECONDS_SHIFT
}

/// The id as a number.
#[must_use]
pub fn number(sequence: u64, node: u64) -> u64 {
    sequence << NODE_BITS | node
}

/// The id as it goes over the wire.
#[must_use]
pub fn encode(sequence: u64, node: u64) -> [u8; 16] {
    text(sequence << NODE_BITS | node)
}

/// The number in 16 lower-case hex characters.
#[must_use]
pub fn text(id: u64) -> [u8; 16] {
    let mut text = [0; 16];
    text[..8].copy_from_slice(&hex8((id >> 32) as u32));
    text[8..].copy_from_slice(&hex8(id as u32));
    text
}

/// The number that an id of 16 lower-case hex characters writes.
#[must_use]
pub fn parse(id: &[u8; 16]) -> Option<u64> {
    let (high, low) = id.split_at(8);
    let number =
        u64::from(value8(high.try_into().ok()?)) << 32 | u64::from(value8(low.try_into().ok()?));
    // Of anything else it makes a number too, but not one that is written like this.
    (text(number) == *id).then_some(number)
}

/// The sequence number in an id, or `None` for one that this node cannot have given.
#[must_use]
pub fn sequence(id: u64, node: u64) -> Option<u64> {
    (id & ((1 << NODE_BITS) - 1) == node).then_some(id >> NODE_BITS)
}

/// The sequence number in an id, whichever node gave it: node ids may change between starts.
#[must_use]
pub fn any_sequence(id: u64) -> u64 {
    id >> NODE_BITS
}

/// Eight hex characters at once: spread the nibbles into bytes, then turn each into its letter.
fn hex8(value: u32) -> [u8; 8] {
    let mut x = u64::from(value);
    x = (x << 16 | x) & 0x0000_ffff_0000_ffff;
    x = (x << 8 | x) & 0x00ff_00ff_00ff_00ff;
    x = (x << 4 | x) & 0x0f0f_0f0f_0f0f_0f0f;
    // 0x10 in every byte whose nibble is over 9; from that, the distance from '0'+n to 'a'+n-10.
    let over_nine = ((x + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (x + 0x3030_3030_3030_3030 + over_nine * 0x27).to_be_bytes()
}

/// The number in eight hex characters at once: turn each into its nibble, then close the gaps.
fn value8(hex: [u8; 8]) -> u32 {
    let x = u64::from_be_bytes(hex);
    // Letters have a bit that digits have not, and their low nibble is 9 below what they mean.
    let letters = (x >> 6) & 0x0101_0101_0101_0101;
    let mut nibbles = (x & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    nibbles = (nibbles >> 4 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles >> 8 | nibbles) & 0x0000_ffff_0000_ffff;
    (nibbles >> 16 | nibbles) as u32
}

#[cfg(test)]
mod tests {
    use super::{encode, first_sequence, parse, sequence};

    fn decode(text: &[u8; 16], node: u64) -> Option<u64> {
        parse(text).and_then(|id| sequence(id, node))
    }

    use alloc::format;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_come_back(number in 0_u64..1 << 54, node in 0_u64..1024) {
            let id = encode(number, node);
            let text = format!("{:016x}", number << 10 | node);
            prop_assert_eq!(&id[..], text.as_bytes());
            prop_assert_eq!(decode(&id, node), Some(number));
            prop_assert_eq!(decode(&id, (node + 1) % 1024), None);
        }
    }

    #[test]
    fn each_byte_is_its_digit_or_none() {
        for at in 0..16 {
            for byte in 0..=u8::MAX {
                let mut text = *b"0123456789abcdef";
                text[at] = byte;
                let digit = b"0123456789abcdef".iter().position(|&hex| hex == byte);
                let shift = 4 * (15 - at);
                let rest = 0x0123_4567_89ab_cdef_u64 & !(0xf << shift);
                assert_eq!(parse(&text), digit.map(|digit| rest | (digit as u64) << shift));
            }
        }
    }

    #[test]
    fn only_lower_case_hex_is_an_id() {
        assert_eq!(decode(b"000000000000FC00", 0), None);
        assert_eq!(decode(b"00000000 000fc00", 0), None);
        assert_eq!(decode(b"000000000000fc00", 0), Some(63));
    }

    #[test]
    fn sequences_start_with_the_clock_and_survive_a_wrong_one() {
        assert_eq!(first_sequence(-5), 1);
        assert_eq!(first_sequence(1_767_225_600 * 1_000_000_000 + 1280), 10);
        let year_2098 = 4_039_372_800 * 1_000_000_000_i64;
        assert!(first_sequence(year_2098) < 1 << 54);
    }
}
