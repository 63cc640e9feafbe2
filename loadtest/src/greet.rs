//! The beginning of a connection, with waiting: the greeting, what was negotiated, `SUB`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::codec::{self, Frame, Kind};
use crate::conn::Conn;
use crate::wrap::{Compression, Layers, Tls};
use crate::{Error, Result, STALL_MAX, Target};

/// A connection to a broker may take so long to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Connects for publishing: greeted, and wrapped as the target says.
pub fn producer(target: &Target, token: usize) -> Result<Conn> {
    Greeter::greet(target)?.into_conn(token)
}

/// Connects over HTTP, with TLS where the target says so.
pub fn http(target: &Target, token: usize) -> Result<Conn> {
    let mut greeter = Greeter::connect(target.http_of_load())?;
    if let Some(tls) = &target.wrap.tls {
        greeter.start_tls(tls)?;
    }
    greeter.into_conn(token)
}

/// Connects and subscribes; nothing is delivered before a `RDY`.
pub fn consumer(target: &Target, topic: &str, channel: &str, token: usize) -> Result<Conn> {
    let mut greeter = Greeter::greet(target)?;
    greeter.send(&codec::subscribe(topic, channel))?;
    greeter.expect_ok("SUB")?;
    greeter.into_conn(token)
}

/// A connection that still waits for each answer.
struct Greeter {
    stream: TcpStream,
    layers: Option<Box<Layers>>,
    /// Read and not yet taken.
    bytes: Vec<u8>,
}

impl Greeter {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_MAX)
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_MAX))?;
        stream.set_write_timeout(Some(STALL_MAX))?;
        Ok(Self { stream, layers: None, bytes: Vec::new() })
    }

    /// Connects and says hello; where nothing is to be negotiated, the magic is all.
    fn greet(target: &Target) -> Result<Self> {
        let mut greeter = Self::connect(target.tcp)?;
        greeter.stream.write_all(codec::MAGIC)?;
        if !target.wrap.is_none() {
            greeter.negotiate(target)?;
        }
        Ok(greeter)
    }

    /// TLS first, then compression within it; the broker confirms each through what was begun.
    fn negotiate(&mut self, target: &Target) -> Result<()> {
        let (tls, compression) = (&target.wrap.tls, target.wrap.compression);
        let mut wish = json!({
            "client_id": "loadtest",
            "user_agent": concat!("loadtest/", env!("CARGO_PKG_VERSION")),
            "feature_negotiation": true,
            "tls_v1": tls.is_some(),
            "snappy": compression == Compression::Snappy,
            "deflate": matches!(compression, Compression::Deflate(_)),
        });
        if let Compression::Deflate(level) = compression {
            wish["deflate_level"] = level.into();
        }
        self.send(&codec::identify(wish.to_string().as_bytes()))?;
        let answer: Value = serde_json::from_slice(&self.answer("IDENTIFY")?)
            .map_err(|error| Error::Protocol(format!("IDENTIFY was not answered: {error}")))?;
        for feature in ["tls_v1", "snappy", "deflate"] {
            if wish[feature] == true && answer[feature] != true {
                return Err(Error::Unfit(format!("the broker does not offer {feature}")));
            }
        }
        if let Some(tls) = tls {
            self.start_tls(tls)?;
            self.expect_ok("TLS")?;
        }
        if compression != Compression::None {
            // The broker does not wait: its first compressed words may have come with the answer.
            let early = std::mem::take(&mut self.bytes);
            self.layers.get_or_insert_default().start_compression(compression, early);
            self.expect_ok("compression")?;
        }
        Ok(())
    }

    fn start_tls(&mut self, tls: &Tls) -> Result<()> {
        Ok(self.layers.get_or_insert_default().start_tls(&mut self.stream, tls)?)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(layers) = &mut self.layers else {
            return Ok(self.stream.write_all(bytes)?);
        };
        let mut sent = 0;
        while sent < bytes.len() {
            sent += layers.write(&mut self.stream, &bytes[sent..])?;
        }
        while !layers.flush(&mut self.stream)? {}
        Ok(())
    }

    /// The next response; an error frame is an error.
    fn answer(&mut self, to: &str) -> Result<Vec<u8>> {
        loop {
            let mut at = 0;
            match codec::next_frame(&self.bytes, &mut at)? {
                None => {}
                Some(Frame { kind: Kind::Response, data }) => {
                    let data = data.to_vec();
                    self.bytes.drain(..at);
                    return Ok(data);
                }
                Some(frame) => return Err(codec::unexpected(&frame)),
            }
            self.receive(to)?;
        }
    }

    fn expect_ok(&mut self, to: &str) -> Result<()> {
        match self.answer(to)?.as_slice() {
            b"OK" => Ok(()),
            other => {
                let text = String::from_utf8_lossy(other);
                Err(Error::Protocol(format!("{to} was answered with {text:?}")))
            }
        }
    }

    /// One read, which waits.
    fn receive(&mut self, what: &str) -> Result<()> {
        if let Some(layers) = &mut self.layers {
            // A TLS record that holds no answer is a read, too.
            self.bytes.extend_from_slice(layers.read(&mut self.stream)?);
            return Ok(());
        }
        let mut some = [0; 4096];
        match self.stream.read(&mut some) {
            Ok(0) => Err(Error::Protocol(format!("the broker closed instead of answering {what}"))),
            Ok(came) => {
                self.bytes.extend_from_slice(&some[..came]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Error::Stalled(format!("no answer to {what}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn into_conn(self, token: usize) -> Result<Conn> {
        let mut conn = Conn::layered(self.stream, self.layers, token)?;
        conn.keep(&self.bytes);
        Ok(conn)
    }
}
