//! Raw deflate: one endless stream in each direction, flushed to a byte boundary whenever
//! something is sent.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Fault;

/// Room that is made for compressed bytes, at least.
const ROOM_BYTES_MIN: usize = 4 * 1024;

/// The state of one connection, which is large; see `DEFLATE_STATE_BYTES`.
pub struct Deflate {
    packer: Compress,
    unpacker: Decompress,
    /// The unpacker had more to give than there was room for.
    more: bool,
}

/// What became of a stretch of input.
#[derive(Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// So much of it is done with.
    pub used: usize,
    /// So many bytes came out.
    pub made: usize,
    /// The stream says that this was all.
    pub ended: bool,
}

impl Deflate {
    /// Fresh streams; 1 is the fastest level and 9 the slowest.
    pub fn new(level: u8) -> Deflate {
        Deflate {
            packer: Compress::new(Compression::new(level.clamp(1, 9).into()), false),
            unpacker: Decompress::new(false),
            more: false,
        }
    }

    /// Appends `plain` compressed, up to a byte boundary.
    pub fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut rest = plain;
        loop {
            out.reserve((rest.len() / 2).max(ROOM_BYTES_MIN));
            let before = self.packer.total_in();
            let flush = FlushCompress::Sync;
            self.packer.compress_vec(rest, out, flush).map_err(Fault::internal)?;
            rest = &rest[(self.packer.total_in() - before) as usize..];
            // Room that was left over is how it says that it has nothing more to give.
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }

    /// Whether there is something to be had, with this input.
    pub fn has_work(&self, input: &[u8]) -> bool {
        self.more || !input.is_empty()
    }

    /// Unpacks as much of `input` as there is room for.
    pub fn decode(&mut self, input: &[u8], room: &mut [u8]) -> Result<Unpacked, Fault> {
        let before = (self.unpacker.total_in(), self.unpacker.total_out());
        let status = self.unpacker.decompress(input, room, FlushDecompress::None);
        let status = status.map_err(|_| Fault::corrupt("flate: damaged data"))?;
        let used = (self.unpacker.total_in() - before.0) as usize;
        let made = (self.unpacker.total_out() - before.1) as usize;
        self.more = made == room.len();
        if used == 0 && made == 0 && !input.is_empty() && status != Status::StreamEnd {
            return Err(Fault::corrupt("flate: damaged data"));
        }
        Ok(Unpacked { used, made, ended: status == Status::StreamEnd })
    }
}

#[cfg(test)]
mod tests {
    use super::Deflate;
    use crate::nsqd::transport::testing::{Random, bodies};

    /// Everything that comes out of pieces of input, with so much room at once.
    fn decoded<'a>(
        pieces: impl Iterator<Item = &'a [u8]>,
        room: usize,
    ) -> Result<(Vec<u8>, bool), String> {
        let (mut deflate, mut room, mut plain) = (Deflate::new(6), vec![0; room], Vec::new());
        for piece in pieces {
            let mut rest = piece;
            while deflate.has_work(rest) {
                let unpacked =
                    deflate.decode(rest, &mut room).map_err(|fault| fault.to_string())?;
                plain.extend_from_slice(&room[..unpacked.made]);
                rest = &rest[unpacked.used..];
                if unpacked.ended {
                    return Ok((plain, true));
                }
            }
        }
        Ok((plain, false))
    }

    #[test]
    fn what_goes_in_comes_out_at_every_level_and_split() {
        for (index, body) in bodies().into_iter().enumerate() {
            let mut deflate = Deflate::new(index as u8 % 12);
            let mut packed = Vec::new();
            deflate.encode(&body, &mut packed).unwrap();
            assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
            let first = packed.len();
            deflate.encode(&body, &mut packed).unwrap();
            assert!(packed.len() <= 2 * first + 64, "the second flush repeats nothing");
            let both = [body.as_slice(), &body].concat();
            for (length, room) in [(1, 65536), (7, 3), (1 << 20, 1 << 20), (5000, 1000)] {
                if packed.len() / length > 100_000 || both.len() / room > 100_000 {
                    continue;
                }
                let plain = decoded(packed.chunks(length), room);
                assert_eq!(plain, Ok((both.clone(), false)), "{length} {room}");
            }
        }
    }

    #[test]
    fn each_flush_can_be_read_by_itself() {
        let (mut there, mut here) = (Deflate::new(6), Deflate::new(1));
        let mut room = [0; 100];
        for body in [&b"OK"[..], b"_heartbeat_", b"x"] {
            let mut packed = Vec::new();
            there.encode(body, &mut packed).unwrap();
            let unpacked = here.decode(&packed, &mut room).unwrap();
            assert_eq!(&room[..unpacked.made], body);
        }
    }

    #[test]
    fn a_bomb_comes_out_in_small_pieces() {
        let mut packed = Vec::new();
        Deflate::new(9).encode(&vec![0; 16 << 20], &mut packed).unwrap();
        assert!(packed.len() < 30_000);
        let (mut deflate, mut room) = (Deflate::new(6), vec![0; 65536]);
        let (mut rest, mut made) = (packed.as_slice(), 0);
        while deflate.has_work(rest) {
            let unpacked = deflate.decode(rest, &mut room).unwrap();
            rest = &rest[unpacked.used..];
            made += unpacked.made;
        }
        assert_eq!(made, 16 << 20);
    }

    #[test]
    fn the_end_of_a_stream_is_seen() {
        // An empty final block of fixed codes.
        let plain = decoded([&[0x03, 0x00][..]].into_iter(), 10);
        assert_eq!(plain, Ok((Vec::new(), true)));
    }

    #[test]
    fn garbage_is_refused_and_noise_never_panics() {
        let refused = Err("flate: damaged data".to_owned());
        // A block of the kind that does not exist.
        assert_eq!(decoded([&[0x07, 0xff, 0xff, 0xff][..]].into_iter(), 10), refused);
        let mut random = Random(5);
        let mut wrong = 0;
        for _ in 0..5000 {
            let length = random.below(80);
            let noise = random.bytes(length);
            wrong += usize::from(decoded(noise.chunks(3), 17).is_err());
        }
        assert!(wrong > 1000, "{wrong}");
    }
}
