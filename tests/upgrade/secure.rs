//! A client with layers: it asks for them, switches where it must, and speaks frames through them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::harness::{Frame, SOON, identify};

const IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Which layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    pub tls: bool,
    pub snappy: bool,
    pub deflate: bool,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind { tls: false, snappy: false, deflate: false },
        Kind { tls: true, snappy: false, deflate: false },
        Kind { tls: false, snappy: true, deflate: false },
        Kind { tls: false, snappy: false, deflate: true },
        Kind { tls: true, snappy: true, deflate: false },
        Kind { tls: true, snappy: false, deflate: true },
    ];

    pub const TLS: Kind = Self::ALL[1];

    /// What IDENTIFY says.
    pub fn json(self) -> String {
        let Kind { tls, snappy, deflate } = self;
        format!(
            "{{\"feature_negotiation\":true,\"tls_v1\":{tls},\"snappy\":{snappy},\
             \"deflate\":{deflate},\"client_id\":\"layered\"}}"
        )
    }
}

/// Why nothing more comes.
pub type Problem = String;

/// A connection under layers.
pub struct Secure {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    codec: Codec,
    /// As it came from the socket or out of TLS.
    packed: Vec<u8>,
    plain: Vec<u8>,
}

enum Codec {
    None,
    Snappy { greeted: bool },
    Deflate(Box<(Compress, Decompress)>),
}

impl Secure {
    /// Connects and sends the magic.
    pub fn new(address: SocketAddr) -> Secure {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        let (packed, plain) = (Vec::new(), Vec::new());
        let mut secure = Secure { stream, tls: None, codec: Codec::None, packed, plain };
        secure.send_raw(b"  V2");
        secure
    }

    /// Connects and asks for layers; the problem of whichever fails.
    pub fn open(
        address: SocketAddr,
        kind: Kind,
        config: &Arc<ClientConfig>,
    ) -> Result<Secure, Problem> {
        let mut secure = Secure::new(address);
        secure.send(&identify(&kind.json()));
        let answer = secure.frame()?.describe();
        for (name, wanted) in
            [("tls_v1", kind.tls), ("snappy", kind.snappy), ("deflate", kind.deflate)]
        {
            let given = answer.contains(&format!("\"{name}\":{wanted}"));
            assert!(given, "{name} should be {wanted}: {answer}");
        }
        if kind.tls {
            secure.start_tls(config)?;
            secure.ok()?;
        }
        if kind.snappy || kind.deflate {
            secure.start_codec(kind);
            secure.ok()?;
        }
        Ok(secure)
    }

    /// Goes through a handshake.
    pub fn start_tls(&mut self, config: &Arc<ClientConfig>) -> Result<(), Problem> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream).map_err(|error| error.to_string())?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// Compresses from now on; what was read ahead belongs to the new layer.
    pub fn start_codec(&mut self, kind: Kind) {
        self.codec = match kind.snappy {
            true => Codec::Snappy { greeted: false },
            false => Codec::Deflate(Box::new((
                Compress::new(Compression::new(6), false),
                Decompress::new(false),
            ))),
        };
        self.packed = std::mem::take(&mut self.plain);
        self.unpack();
    }

    /// Sends bytes past all layers.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes past compression, within TLS.
    pub fn send_uncompressed(&mut self, bytes: &[u8]) -> bool {
        let Some(tls) = &mut self.tls else { return self.stream.write_all(bytes).is_ok() };
        for piece in bytes.chunks(16 * 1024) {
            tls.writer().write_all(piece).unwrap();
            while tls.wants_write() {
                if tls.write_tls(&mut self.stream).is_err() {
                    return false;
                }
            }
        }
        true
    }

    /// Sends bytes through the layers as one flush; false when the broker has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let packed = self.pack(bytes);
        self.send_uncompressed(&packed)
    }

    /// One flush of the compressor.
    pub fn pack(&mut self, bytes: &[u8]) -> Vec<u8> {
        match &mut self.codec {
            Codec::None => bytes.to_vec(),
            Codec::Snappy { greeted } => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).unwrap();
                let packed = encoder.into_inner().unwrap();
                let known = std::mem::replace(greeted, true);
                packed[if known { IDENTIFIER.len() } else { 0 }..].to_vec()
            }
            Codec::Deflate(state) => {
                let mut packed = Vec::with_capacity(bytes.len() + bytes.len() / 2 + 1000);
                state.0.compress_vec(bytes, &mut packed, FlushCompress::Sync).unwrap();
                packed
            }
        }
    }

    /// The next frame that is not a heartbeat.
    pub fn frame(&mut self) -> Result<Frame, Problem> {
        loop {
            match Frame::take(&mut self.plain) {
                // On a busy machine a test may last longer than the interval.
                Some(frame) if frame.describe() == "_heartbeat_" => {
                    self.send(b"NOP\n");
                }
                Some(frame) => return Ok(frame),
                None => self.fill()?,
            }
        }
    }

    /// Expects `OK`.
    pub fn ok(&mut self) -> Result<(), Problem> {
        let frame = self.frame()?.describe();
        if frame == "OK" { Ok(()) } else { Err(frame) }
    }

    /// Reads until the broker closes: the frames that came, in the tables' notation.
    pub fn rest(&mut self) -> (Vec<String>, Problem) {
        let mut frames = Vec::new();
        loop {
            match self.frame() {
                Ok(frame) => frames.push(frame.describe()),
                Err(problem) => return (frames, problem),
            }
        }
    }

    fn fill(&mut self) -> Result<(), Problem> {
        if self.take_decrypted() {
            return Ok(());
        }
        let mut buffer = [0; 64 * 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err("closed".to_string()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Err("closed".to_string());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err("silent".to_string());
            }
            Err(error) => panic!("{error}"),
        };
        let mut rest = &buffer[..count];
        let Some(tls) = &mut self.tls else {
            self.packed.extend_from_slice(rest);
            self.unpack();
            return Ok(());
        };
        while !rest.is_empty() {
            tls.read_tls(&mut rest).unwrap();
            tls.process_new_packets().map_err(|error| error.to_string())?;
            // Its own room is small.
            let mut plain = [0; 64 * 1024];
            while let Ok(count @ 1..) = tls.reader().read(&mut plain) {
                self.packed.extend_from_slice(&plain[..count]);
            }
        }
        self.unpack();
        Ok(())
    }

    /// Takes what came together with the end of the handshake; false if there is nothing.
    fn take_decrypted(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return false };
        let mut plain = [0; 64 * 1024];
        let Ok(count @ 1..) = tls.reader().read(&mut plain) else { return false };
        self.packed.extend_from_slice(&plain[..count]);
        self.unpack();
        true
    }

    fn unpack(&mut self) {
        match &mut self.codec {
            Codec::None => self.plain.append(&mut self.packed),
            Codec::Snappy { .. } => {
                while let Some(length) = chunk_length(&self.packed) {
                    let chunk: Vec<u8> = self.packed.drain(..length).collect();
                    let framed = [IDENTIFIER, &chunk].concat();
                    let mut decoder = snap::read::FrameDecoder::new(framed.as_slice());
                    decoder.read_to_end(&mut self.plain).unwrap();
                }
            }
            Codec::Deflate(state) => {
                let mut room = vec![0; 256 * 1024];
                loop {
                    let before = (state.1.total_in(), state.1.total_out());
                    let flush = FlushDecompress::None;
                    state.1.decompress(&self.packed, &mut room, flush).unwrap();
                    let used = (state.1.total_in() - before.0) as usize;
                    let made = (state.1.total_out() - before.1) as usize;
                    self.packed.drain(..used);
                    self.plain.extend_from_slice(&room[..made]);
                    if made < room.len() {
                        return;
                    }
                }
            }
        }
    }
}

/// The length of the chunk that a stretch of snappy's framing begins with, if it is whole.
fn chunk_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<4>()?;
    let length = 4 + u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize;
    (bytes.len() >= length).then_some(length)
}
