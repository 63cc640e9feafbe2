//! The protocol's two compressions, over streams that come in pieces of any length.

use std::io::{self, Read, Write};

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use serde::Serialize;

/// How the bytes of a connection are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Snappy's framing format.
    Snappy,
    /// Raw deflate with this level.
    Deflate(u32),
}

/// Room made for the next piece of output of deflate, either way.
const ROOM_BYTES: usize = 64 * 1024;

/// Compresses what is sent.
pub enum Packer {
    /// Passes on.
    Plain(Vec<u8>),
    /// Each piece is a chunk.
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
    /// Each piece ends with a sync flush.
    Deflate(Box<Compress>, Vec<u8>),
}

impl Default for Packer {
    fn default() -> Self {
        Self::Plain(Vec::new())
    }
}

impl Packer {
    /// A new stream.
    pub fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::default(),
            Compression::Snappy => {
                Self::Snappy(Box::new(snap::write::FrameEncoder::new(Vec::new())))
            }
            Compression::Deflate(level) => {
                let level = flate2::Compression::new(level);
                Self::Deflate(Box::new(Compress::new(level, false)), Vec::new())
            }
        }
    }

    /// One piece, which the other side can read at once; call [`Packer::clear`] when it was taken.
    pub fn pack<'p>(&'p mut self, bytes: &[u8]) -> io::Result<&'p [u8]> {
        match self {
            Self::Plain(out) => {
                out.extend_from_slice(bytes);
                Ok(out)
            }
            Self::Snappy(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                Ok(encoder.get_ref())
            }
            Self::Deflate(deflate, out) => {
                pack_deflate(deflate, bytes, out)?;
                Ok(out)
            }
        }
    }

    /// Forgets what was taken.
    pub fn clear(&mut self) {
        match self {
            Self::Plain(out) | Self::Deflate(_, out) => out.clear(),
            Self::Snappy(encoder) => encoder.get_mut().clear(),
        }
    }
}

fn pack_deflate(deflate: &mut Compress, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    loop {
        out.reserve(ROOM_BYTES);
        let before = deflate.total_in();
        deflate.compress_vec(bytes, out, FlushCompress::Sync).map_err(io::Error::other)?;
        bytes = &bytes[(deflate.total_in() - before) as usize..];
        // With room to spare, the flush is complete, too.
        if bytes.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
    }
}

/// Decompresses what comes.
#[derive(Default)]
pub enum Unpacker {
    /// Passes on.
    #[default]
    None,
    /// Whole chunks only are given to the decoder, which cannot stop in the middle of one.
    Snappy(Box<snap::read::FrameDecoder<Chunks>>),
    /// Raw deflate.
    Deflate(Box<Decompress>),
}

/// Snappy's chunks: those before `whole` are complete.
#[derive(Default)]
pub struct Chunks {
    bytes: Vec<u8>,
    at: usize,
    whole: usize,
}

/// Bytes before the content of a chunk: its type and length.
const CHUNK_HEADER_BYTES: usize = 4;

impl Unpacker {
    /// A new stream.
    pub fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Snappy => {
                Self::Snappy(Box::new(snap::read::FrameDecoder::new(Chunks::default())))
            }
            Compression::Deflate(_) => Self::Deflate(Box::new(Decompress::new(false))),
        }
    }

    /// Appends to `out` what these bytes, and those before them, say.
    pub fn unpack(&mut self, packed: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => out.extend_from_slice(packed),
            Self::Snappy(decoder) => {
                decoder.get_mut().push(packed);
                decoder.read_to_end(out)?;
            }
            Self::Deflate(inflate) => unpack_deflate(inflate, packed, out)?,
        }
        Ok(())
    }
}

fn unpack_deflate(inflate: &mut Decompress, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    loop {
        out.reserve(ROOM_BYTES);
        let before = inflate.total_in();
        let status = inflate.decompress_vec(bytes, out, FlushDecompress::Sync);
        bytes = &bytes[(inflate.total_in() - before) as usize..];
        match status.map_err(io::Error::other)? {
            Status::StreamEnd => return Err(io::Error::other("the deflate stream ended")),
            _ if bytes.is_empty() && out.len() < out.capacity() => return Ok(()),
            _ => {}
        }
    }
}

impl Chunks {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.whole -= self.at;
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
        while let Some(header) = self.bytes[self.whole..].first_chunk::<CHUNK_HEADER_BYTES>() {
            let length = u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize;
            let end = self.whole + CHUNK_HEADER_BYTES + length;
            if end > self.bytes.len() {
                break;
            }
            self.whole = end;
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = (&self.bytes[self.at..self.whole]).read(out)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Vec<Vec<u8>> {
        let noise = |size: usize| (0..size).map(|at| (at * at % 251) as u8).collect();
        vec![b"OK".to_vec(), noise(1), noise(70_000), vec![b'x'; 300_000], b"end".to_vec()]
    }

    #[test]
    fn every_piece_can_be_read_at_once_however_the_stream_is_cut() {
        for compression in [Compression::None, Compression::Snappy, Compression::Deflate(6)] {
            for cut in [1, 7, 4096, usize::MAX] {
                let (mut packer, mut unpacker) =
                    (Packer::new(compression), Unpacker::new(compression));
                for piece in pieces() {
                    let packed = packer.pack(&piece).unwrap().to_vec();
                    packer.clear();
                    let mut plain = Vec::new();
                    for part in packed.chunks(cut.min(packed.len())) {
                        unpacker.unpack(part, &mut plain).unwrap();
                    }
                    assert!(plain == piece, "{compression:?} cut at {cut}: {}", plain.len());
                }
            }
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error() {
        for compression in [Compression::Snappy, Compression::Deflate(6)] {
            let mut packer = Packer::new(compression);
            let mut packed = packer.pack(&vec![7; 5000]).unwrap().to_vec();
            let middle = packed.len() / 2;
            packed[middle] ^= 0xff;
            packed.truncate(packed.len() - 1);
            packed.extend_from_slice(&[0xff; 200]);
            let outcome = Unpacker::new(compression).unpack(&packed, &mut Vec::new());
            assert!(outcome.is_err(), "{compression:?}");
        }
    }
}
