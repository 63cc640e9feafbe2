//! Every combination of layers against a peer that is made of the libraries' other sides, with
//! the stream cut in every way; then peers that make no sense.

use std::sync::Arc;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use shards::upgrade::{Compression, Encryption};
use shards::wire::frame;
use tempfile::TempDir;

use super::testing::{Random, bodies};
use super::{Layers, Step, Tools};
use crate::config::value::TlsVersion;
use crate::tls::{ClientAuth, ClientFiles, ServerFiles, server_name};

const KINDS: [(bool, Compression); 5] = [
    (true, Compression::None),
    (false, Compression::Snappy),
    (false, Compression::Deflate(6)),
    (true, Compression::Snappy),
    (true, Compression::Deflate(3)),
];

/// Both sides' configurations, for a certificate of their own.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let folder = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let paths = ["cert", "key"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&paths[1], key.serialize_pem()).unwrap();
    let [cert, key] = paths;
    let (client_auth, oldest) = (ClientAuth::None, TlsVersion::Tls12);
    let server = ServerFiles { cert, key, root_ca: None, client_auth, oldest }.load().unwrap();
    let client = ClientFiles { root_ca: None, identity: None, insecure: true, oldest };
    (server, client.load().unwrap())
}

/// The client's side of the layers, made of other parts than ours: snappy's own framing.
struct Peer {
    tls: Option<ClientConnection>,
    compression: Compression,
    packer: Compress,
    unpacker: Decompress,
    greeted: bool,
    /// Bytes from the server, decrypted.
    packed: Vec<u8>,
    /// `OK`s of TLS that come before compression begins.
    uncompressed: usize,
}

impl Peer {
    fn new(config: Option<&Arc<ClientConfig>>, compression: Compression) -> Peer {
        let name = || server_name("localhost").unwrap();
        let new = |config| ClientConnection::new(Arc::clone(config), name()).unwrap();
        let tls = config.map(new);
        let uncompressed = if tls.is_some() { frame::OK.len() } else { 0 };
        Peer {
            tls,
            compression,
            packer: Compress::new(flate2::Compression::new(5), false),
            unpacker: Decompress::new(false),
            greeted: false,
            packed: Vec::new(),
            uncompressed,
        }
    }

    /// One flush of the client's.
    fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let packed = match self.compression {
            Compression::None => plain.to_vec(),
            Compression::Snappy => {
                use std::io::Write;
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).unwrap();
                encoder.flush().unwrap();
                let packed = encoder.into_inner().unwrap();
                // Only the first of them has to have the identifier; some clients repeat it.
                let strip = self.greeted && plain.len().is_multiple_of(2) && !packed.is_empty();
                self.greeted |= !packed.is_empty();
                packed[if strip { super::snappy::IDENTIFIER.len() } else { 0 }..].to_vec()
            }
            Compression::Deflate(_) => {
                let mut packed = Vec::with_capacity(2 * plain.len() + 1000);
                self.packer.compress_vec(plain, &mut packed, FlushCompress::Sync).unwrap();
                packed
            }
        };
        let Some(tls) = &mut self.tls else { return packed };
        let mut wire = Vec::new();
        for piece in packed.chunks(16 * 1024) {
            use std::io::Write;
            tls.writer().write_all(piece).unwrap();
            tls.write_tls(&mut wire).unwrap();
        }
        while tls.wants_write() {
            tls.write_tls(&mut wire).unwrap();
        }
        wire
    }

    /// What bytes from the server hold.
    fn unpack(&mut self, mut wire: &[u8]) -> Vec<u8> {
        if let Some(tls) = &mut self.tls {
            while !wire.is_empty() {
                use std::io::Read;
                tls.read_tls(&mut wire).unwrap();
                tls.process_new_packets().unwrap();
                let mut plain = vec![0; 100_000];
                let length = tls.reader().read(&mut plain).unwrap_or(0);
                self.packed.extend_from_slice(&plain[..length]);
            }
        } else {
            self.packed.extend_from_slice(wire);
        }
        let bare = self.uncompressed.min(self.packed.len());
        self.uncompressed -= bare;
        let mut plain: Vec<u8> = self.packed.drain(..bare).collect();
        let packed = std::mem::take(&mut self.packed);
        match self.compression {
            Compression::None => plain.extend(packed),
            Compression::Snappy if packed.is_empty() => {}
            Compression::Snappy => {
                use std::io::Read;
                // The crate's reader wants whole chunks behind an identifier, which tests give it.
                let stream = match packed.starts_with(super::snappy::IDENTIFIER) {
                    true => packed,
                    false => [super::snappy::IDENTIFIER, packed.as_slice()].concat(),
                };
                let mut decoder = snap::read::FrameDecoder::new(stream.as_slice());
                decoder.read_to_end(&mut plain).unwrap();
            }
            Compression::Deflate(_) => {
                let mut room = Vec::with_capacity(4 << 20);
                let flush = FlushDecompress::Sync;
                self.unpacker.decompress_vec(&packed, &mut room, flush).unwrap();
                plain.extend(room);
            }
        }
        plain
    }
}

/// Layers with a peer, after the handshake.
struct Pair {
    layers: Layers,
    peer: Peer,
    tools: Tools,
    encryption: Option<Encryption>,
}

/// What is on the wire, sent.
fn wire(layers: &mut Layers) -> Vec<u8> {
    let wire = layers.wire().to_vec();
    layers.sent(wire.len());
    wire
}

impl Pair {
    /// Opens layers; the peer's bytes come in pieces of `cut`.
    fn open(kind: (bool, Compression), cut: usize) -> Pair {
        let (server, client) = configs();
        let (tls, compression) = kind;
        let mut tools = Tools::default();
        let layers = Layers::new(tls.then_some(server), compression, &mut tools).unwrap();
        let peer = Peer::new(tls.then_some(&client), compression);
        let mut pair = Pair { layers, peer, tools, encryption: None };
        let mut greetings = Vec::new();
        while let Some(tls) = &mut pair.peer.tls
            && (tls.is_handshaking() || tls.wants_write() || pair.layers.is_opening())
        {
            let mut there = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut there).unwrap();
            }
            for piece in there.chunks(cut) {
                assert!(pair.layers.is_opening());
                pair.layers.receive(piece);
                match pair.layers.next(&mut pair.tools).unwrap() {
                    Step::Opened(encryption) => pair.encryption = Some(encryption),
                    step => assert_eq!(step, Step::Starved),
                }
            }
            greetings.extend(pair.peer.unpack(&wire(&mut pair.layers)));
        }
        greetings.extend(pair.peer.unpack(&wire(&mut pair.layers)));
        let layers = usize::from(tls) + usize::from(compression != Compression::None);
        assert_eq!(greetings, frame::OK.repeat(layers), "{kind:?}");
        pair
    }

    /// Everything that comes out now.
    fn take(&mut self) -> Vec<u8> {
        let mut plain = Vec::new();
        loop {
            match self.layers.next(&mut self.tools).unwrap() {
                Step::Plain(bytes) => {
                    assert!(!bytes.is_empty() && bytes.len() <= super::PIECE_BYTES_MAX);
                    plain.extend_from_slice(bytes);
                }
                step => {
                    assert_eq!(step, Step::Starved);
                    return plain;
                }
            }
        }
    }
}

#[test]
fn each_layer_says_ok_and_carries_bodies_both_ways() {
    for kind in KINDS {
        let mut pair = Pair::open(kind, usize::MAX);
        assert_eq!(
            pair.encryption.as_ref().map(|e| e.version.as_str()),
            kind.0.then_some("TLS1.3")
        );
        for body in bodies() {
            let there = pair.peer.pack(&body);
            pair.layers.receive(&there);
            assert_eq!(pair.take(), body, "{kind:?}");
            pair.layers.send(&body, &mut pair.tools).unwrap();
            let back = wire(&mut pair.layers);
            assert_eq!(pair.peer.unpack(&back), body, "{kind:?}");
        }
    }
}

#[test]
fn the_stream_may_be_cut_anywhere() {
    for kind in KINDS {
        for cut in [1, 2, 3, 5, 11, 100] {
            let mut pair = Pair::open(kind, cut);
            let bodies = [&b"PUB t\n\0\0\0\x01x"[..], b"NOP\n", &[b'z'; 700]];
            let there: Vec<u8> = bodies.iter().flat_map(|body| pair.peer.pack(body)).collect();
            let mut plain = Vec::new();
            for piece in there.chunks(cut) {
                pair.layers.receive(piece);
                plain.extend(pair.take());
            }
            assert_eq!(plain, bodies.concat(), "{kind:?} {cut}");
        }
    }
}

#[test]
fn random_bodies_in_random_pieces_arrive() {
    for (seed, kind) in KINDS.into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let mut pair = Pair::open(kind, 64);
        let (mut there, mut sent, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..60 {
            let length = random.below(3000);
            let body =
                if length.is_multiple_of(3) { vec![7; length] } else { random.bytes(length) };
            there.extend(pair.peer.pack(&body));
            sent.extend(body);
            while random.below(3) > 0 && !there.is_empty() {
                let count = 1 + random.below(there.len() as u64);
                pair.layers.receive(&there[..count]);
                there.drain(..count);
                // Nobody has to take what came at once.
                if random.below(2) == 0 {
                    plain.extend(pair.take());
                }
            }
        }
        pair.layers.receive(&there);
        plain.extend(pair.take());
        assert_eq!(plain, sent, "{kind:?}");
    }
}

#[test]
fn a_bomb_waits_packed_until_it_is_wanted() {
    for kind in KINDS {
        let mut pair = Pair::open(kind, usize::MAX);
        let body = vec![0; 3 << 20];
        let there = pair.peer.pack(&body);
        pair.layers.receive(&there);
        let kept = there.len();
        let mut made = 0;
        while let Step::Plain(bytes) = pair.layers.next(&mut pair.tools).unwrap() {
            made += bytes.len();
            assert!(pair.layers.received().len() <= kept);
            assert!(pair.layers.decrypted.bytes().len() <= 64 << 10);
        }
        assert_eq!(made, body.len());
    }
}

#[test]
fn what_is_behind_the_handshake_belongs_to_the_client() {
    let (server, client) = configs();
    let mut tools = Tools::default();
    let mut layers = Layers::new(Some(server), Compression::Snappy, &mut tools).unwrap();
    let mut peer = Peer::new(Some(&client), Compression::Snappy);
    let hello = peer.pack(b"");
    layers.receive(&hello);
    assert_eq!(layers.next(&mut tools), Ok(Step::Starved));
    let flight = wire(&mut layers);
    assert_eq!(peer.unpack(&flight), b"");
    // The end of its handshake and its first commands come in one piece.
    let both = peer.pack(b"NOP\n");
    layers.receive(&both);
    assert!(matches!(layers.next(&mut tools), Ok(Step::Opened(_))));
    assert_eq!(layers.next(&mut tools), Ok(Step::Plain(b"NOP\n")));
    assert_eq!(layers.next(&mut tools), Ok(Step::Starved));
}

#[test]
fn a_goodbye_is_an_end() {
    for kind in [KINDS[0], KINDS[3], KINDS[4]] {
        let mut pair = Pair::open(kind, usize::MAX);
        let mut there = pair.peer.pack(b"NOP\n");
        let tls = pair.peer.tls.as_mut().unwrap();
        tls.send_close_notify();
        tls.write_tls(&mut there).unwrap();
        pair.layers.receive(&there);
        assert_eq!(pair.layers.next(&mut pair.tools), Ok(Step::Plain(b"NOP\n")));
        assert_eq!(pair.layers.next(&mut pair.tools), Ok(Step::Ended));
        assert_eq!(pair.layers.next(&mut pair.tools), Ok(Step::Ended));
        pair.layers.close();
        let goodbye = wire(&mut pair.layers);
        assert!(!goodbye.is_empty());
        let tls = pair.peer.tls.as_mut().unwrap();
        tls.read_tls(&mut goodbye.as_slice()).unwrap();
        assert!(tls.process_new_packets().unwrap().peer_has_closed());
    }
}

#[track_caller]
fn refused(first: &[u8], reason: &str) {
    let mut tools = Tools::default();
    let mut layers = Layers::new(Some(configs().0), Compression::None, &mut tools).unwrap();
    layers.receive(first);
    let fault = layers.next(&mut tools).unwrap_err().to_string();
    assert_eq!(fault, reason);
}

#[test]
fn who_does_not_speak_tls_is_told_in_the_originals_words() {
    let odd = "tls: first record does not look like a TLS handshake";
    refused(b"GET / HTTP/1.1\r\n\r\n", odd);
    refused(b"  V2PUB t\n", odd);
    refused(b"\x17\x03\x03\x00\x01x", odd);
    refused(b"\x16\x20\x03\x00\x01x", odd);
    refused(b"\x80\x2e\x01\x03\x01", "tls: unsupported SSLv2 handshake received");
    refused(b"\x15\x03\x01\x00\x02\x02\x2a", "remote error: tls: bad certificate");
    // Four bytes say nothing yet.
    let mut tools = Tools::default();
    let mut layers = Layers::bare(configs().0).unwrap();
    layers.receive(b"GET ");
    assert_eq!(layers.next(&mut tools), Ok(Step::Starved));
    assert_eq!(layers.wire(), b"");
}

#[test]
fn noise_ends_with_a_fault_or_waits_for_more() {
    for (tls, compression) in KINDS {
        let (server, _) = configs();
        let (mut random, mut tools, mut faults) = (Random(9), Tools::default(), 0);
        for _ in 0..500 {
            let config = tls.then(|| Arc::clone(&server));
            let mut layers = Layers::new(config, compression, &mut tools).unwrap();
            let length = random.below(400);
            let mut noise = random.bytes(length);
            // Half of it gets past the first look.
            if random.below(2) == 0 && noise.len() > 10 {
                match compression {
                    _ if tls => noise[..5].copy_from_slice(&[0x16, 3, 1, 0, 40]),
                    Compression::Snappy => noise[..10].copy_from_slice(super::snappy::IDENTIFIER),
                    _ => noise[0] = 0,
                }
            }
            for piece in noise.chunks(7) {
                layers.receive(piece);
                loop {
                    match layers.next(&mut tools) {
                        Ok(Step::Plain(_)) => {}
                        Ok(Step::Starved) => break,
                        Ok(step) => panic!("noise is no {step:?}"),
                        Err(_) => {
                            faults += 1;
                            layers.discard();
                            break;
                        }
                    }
                }
            }
        }
        assert!(faults > 100, "{faults}");
    }
}

#[test]
fn a_cut_stream_only_waits() {
    for kind in KINDS {
        let mut pair = Pair::open(kind, usize::MAX);
        let there = pair.peer.pack(&Random(2).bytes(5000));
        pair.layers.receive(&there[..there.len() - 1]);
        let plain = pair.take();
        assert!(plain.len() <= 5000);
        pair.layers.receive(&there[there.len() - 1..]);
        assert_eq!(plain.len() + pair.take().len(), 5000, "{kind:?}");
    }
}
