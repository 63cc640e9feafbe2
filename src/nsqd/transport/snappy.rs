//! Snappy's framing format: a stream identifier, then chunks of at most 64 KiB, each with a
//! checksum. Chunks say nothing of each other, so a connection keeps no state but whether its
//! identifier has come; tables and buffers are shared by all connections of a thread.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::Fault;

/// What every stream begins with. Some clients repeat it.
pub const IDENTIFIER: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";
/// Bytes in one chunk, uncompressed.
pub const CHUNK_BYTES_MAX: usize = 65536;
/// What stands before a chunk: its kind and its length.
const HEADER_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
/// The longest chunk behind its header: a checksum and the worst that compression makes of it.
const BODY_BYTES_MAX: usize = CHECKSUM_BYTES + 76_490;

const COMPRESSED: u8 = 0x00;
const UNCOMPRESSED: u8 = 0x01;
const STREAM_IDENTIFIER: u8 = 0xff;
/// Chunks of these kinds mean nothing to us and may be left out; those below may not.
const SKIPPABLE_FROM: u8 = 0x80;

/// The tables and buffers, for any number of connections.
pub struct Snappy {
    encoder: Encoder,
    decoder: Decoder,
    /// A chunk as it leaves, or as it came out.
    chunk: Vec<u8>,
}

impl Default for Snappy {
    fn default() -> Snappy {
        let chunk = vec![0; max_compress_len(CHUNK_BYTES_MAX)];
        Snappy { encoder: Encoder::new(), decoder: Decoder::new(), chunk }
    }
}

/// What a stretch of input holds at its beginning.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// So many bytes are done with,
    pub used: usize,
    /// and made so many; perhaps none.
    pub made: usize,
}

impl Snappy {
    /// Appends chunks for `plain`: as few as there can be.
    pub fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        for block in plain.chunks(CHUNK_BYTES_MAX) {
            let length = self.encoder.compress(block, &mut self.chunk).map_err(Fault::internal)?;
            // As the original: what saves less than an eighth is not worth the work of undoing it.
            let (kind, body) = if length >= block.len() - block.len() / 8 {
                (UNCOMPRESSED, block)
            } else {
                (COMPRESSED, &self.chunk[..length])
            };
            let [low, middle, high, _] = ((CHECKSUM_BYTES + body.len()) as u32).to_le_bytes();
            out.extend_from_slice(&[kind, low, middle, high]);
            out.extend_from_slice(&checksum(block).to_le_bytes());
            out.extend_from_slice(body);
        }
        Ok(())
    }

    /// What the last chunk made.
    pub fn made(&self, length: usize) -> &[u8] {
        &self.chunk[..length]
    }

    /// Decodes the first chunk of `input`, if it is whole. `greeted` says whether the identifier
    /// has come.
    pub fn decode(&mut self, input: &[u8], greeted: &mut bool) -> Result<Option<Chunk>, Fault> {
        let Some((&[kind, low, middle, high], rest)) = input.split_first_chunk::<HEADER_BYTES>()
        else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if !*greeted && kind != STREAM_IDENTIFIER {
            return Err(Fault::corrupt("snappy: no stream identifier"));
        }
        if kind != STREAM_IDENTIFIER && (2..SKIPPABLE_FROM).contains(&kind) {
            return Err(Fault::corrupt("snappy: a chunk of an unknown kind"));
        }
        if length > BODY_BYTES_MAX {
            return Err(Fault::corrupt("snappy: a chunk is too long"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let made = match kind {
            COMPRESSED => self.decompress(body)?,
            UNCOMPRESSED => self.copy(body)?,
            STREAM_IDENTIFIER => {
                if body != &IDENTIFIER[HEADER_BYTES..] {
                    return Err(Fault::corrupt("snappy: a wrong stream identifier"));
                }
                *greeted = true;
                0
            }
            _ => 0,
        };
        Ok(Some(Chunk { used: HEADER_BYTES + length, made }))
    }

    fn decompress(&mut self, body: &[u8]) -> Result<usize, Fault> {
        let (sum, packed) = split_checksum(body)?;
        let damaged = |_| Fault::corrupt("snappy: damaged data");
        let length = decompress_len(packed).map_err(damaged)?;
        if length > CHUNK_BYTES_MAX {
            return Err(Fault::corrupt("snappy: a chunk holds too much"));
        }
        let made = self.decoder.decompress(packed, &mut self.chunk).map_err(damaged)?;
        check(sum, &self.chunk[..made])?;
        Ok(made)
    }

    fn copy(&mut self, body: &[u8]) -> Result<usize, Fault> {
        let (sum, plain) = split_checksum(body)?;
        if plain.len() > CHUNK_BYTES_MAX {
            return Err(Fault::corrupt("snappy: a chunk holds too much"));
        }
        check(sum, plain)?;
        self.chunk[..plain.len()].copy_from_slice(plain);
        Ok(plain.len())
    }
}

fn split_checksum(body: &[u8]) -> Result<(u32, &[u8]), Fault> {
    let (sum, rest) = body
        .split_first_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(|| Fault::corrupt("snappy: a chunk without a checksum"))?;
    Ok((u32::from_le_bytes(*sum), rest))
}

fn check(sum: u32, plain: &[u8]) -> Result<(), Fault> {
    let fits = checksum(plain) == sum;
    fits.then_some(()).ok_or_else(|| Fault::corrupt("snappy: a checksum is wrong"))
}

/// The checksum of the framing format: CRC-32C, turned and shifted.
fn checksum(plain: &[u8]) -> u32 {
    crc32c::crc32c(plain).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES_MAX, IDENTIFIER, Snappy};
    use crate::nsqd::transport::testing::{Random, bodies};

    fn encoded(plain: &[u8]) -> Vec<u8> {
        let mut out = IDENTIFIER.to_vec();
        Snappy::default().encode(plain, &mut out).unwrap();
        out
    }

    /// Everything that whole chunks at the start of `input` hold, and how many bytes they are.
    fn decoded(input: &[u8]) -> Result<(usize, Vec<u8>), String> {
        let (mut snappy, mut greeted, mut used, mut plain) =
            (Snappy::default(), false, 0, Vec::new());
        loop {
            match snappy.decode(&input[used..], &mut greeted).map_err(|fault| fault.to_string())? {
                None => return Ok((used, plain)),
                Some(chunk) => {
                    used += chunk.used;
                    plain.extend_from_slice(snappy.made(chunk.made));
                }
            }
        }
    }

    fn chunk(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_le_bytes();
        [IDENTIFIER.as_slice(), &[kind, length[0], length[1], length[2]], body].concat()
    }

    fn refused(input: &[u8], reason: &str) {
        assert_eq!(decoded(input).unwrap_err(), format!("snappy: {reason}"));
    }

    #[test]
    fn an_ok_has_the_originals_bytes() {
        let bytes = [0x01, 0x0e, 0, 0, 0x26, 0x98, 0x2b, 0xcf, 0, 0, 0, 6, 0, 0, 0, 0, b'O', b'K'];
        assert_eq!(&encoded(b"\0\0\0\x06\0\0\0\0OK")[10..], bytes);
    }

    #[test]
    fn what_goes_in_comes_out_at_every_length_of_input() {
        for body in bodies() {
            let input = encoded(&body);
            assert_eq!(decoded(&input), Ok((input.len(), body.clone())));
            let step = (input.len() / 97).max(1);
            for cut in (0..input.len()).step_by(step) {
                let (used, plain) = decoded(&input[..cut]).unwrap();
                assert!(used <= cut && body.starts_with(&plain));
            }
        }
    }

    #[test]
    fn only_what_saves_an_eighth_is_compressed() {
        assert_eq!(encoded(&[7; 1000])[10], 0);
        let noise: Vec<u8> = Random(3).bytes(1000);
        assert_eq!(encoded(&noise)[10], 1);
        let chunks = encoded(&[7; CHUNK_BYTES_MAX + 1]);
        assert!(chunks.len() < 4000, "{}", chunks.len());
    }

    #[test]
    fn what_may_be_skipped_is_skipped() {
        for kind in [0x80, 0xfd, 0xfe] {
            let input = [chunk(kind, b"whatever"), encoded(b"x")].concat();
            assert_eq!(decoded(&input), Ok((input.len(), b"x".to_vec())));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        refused(&chunk(2, b"")[10..], "no stream identifier");
        refused(b"\x00\x01\x00\x00", "no stream identifier");
        refused(b"  V2", "no stream identifier");
        refused(b"\xff\x06\x00\x00sNaPpy", "a wrong stream identifier");
        refused(b"\xff\x00\x00\x00", "a wrong stream identifier");
        refused(&chunk(2, b""), "a chunk of an unknown kind");
        refused(&chunk(0x7f, b""), "a chunk of an unknown kind");
        refused(&[IDENTIFIER, &b"\x00\xff\xff\xff"[..]].concat(), "a chunk is too long");
        refused(&[IDENTIFIER, &b"\xfe\xff\xff\xff"[..]].concat(), "a chunk is too long");
        refused(&chunk(0, b"abc"), "a chunk without a checksum");
        refused(&chunk(1, b"abcdx"), "a checksum is wrong");
        refused(&chunk(0, b"abcd\xff\xff\xff\xff\xff"), "damaged data");
        // It says that it holds 65537 bytes, or 4 GiB.
        refused(&chunk(0, b"abcd\x81\x80\x04x"), "a chunk holds too much");
        refused(&chunk(0, b"abcd\xff\xff\xff\xff\x0fx"), "a chunk holds too much");
        refused(&chunk(1, &[0; 4 + 65537]), "a chunk holds too much");
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let body = b"a body with a body in a body".repeat(3);
        let input = encoded(&body);
        for bit in 80..input.len() * 8 {
            let mut damaged = input.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let plain = decoded(&damaged).map(|(_, plain)| plain);
            assert_ne!(plain.as_ref(), Ok(&body), "bit {bit}");
        }
    }

    #[test]
    fn noise_never_panics() {
        let mut random = Random(11);
        for _ in 0..20_000 {
            let length = random.below(60);
            let mut input = IDENTIFIER.to_vec();
            input.extend(random.bytes(length));
            if input.len() > 13 {
                (input[11], input[12], input[13]) = (random.below(40) as u8, 0, 0);
            }
            let _ = decoded(&input);
        }
    }
}
