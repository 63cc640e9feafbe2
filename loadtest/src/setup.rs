//! Topics and channels made over HTTP before a load, so that none of it pays for their making.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::{Error, Result, STALL_MAX, Target, codec};

/// Makes the target's topics and on each of them all channels.
pub fn create_channels(target: &Target) -> Result<()> {
    let mut maker = Maker::connect(target)?;
    let channels = target.channel_names();
    for topic in target.topic_names() {
        maker.post(&format!("/topic/create?topic={topic}"))?;
        for channel in &channels {
            maker.post(&format!("/channel/create?topic={topic}&channel={channel}"))?;
        }
    }
    Ok(())
}

/// One connection that stays open over many requests.
struct Maker {
    stream: TcpStream,
    host: String,
}

impl Maker {
    fn connect(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.http)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_MAX))?;
        Ok(Self { stream, host: target.http.to_string() })
    }

    /// One request; nothing else comes before its answer.
    fn post(&mut self, path: &str) -> Result<()> {
        let host = &self.host;
        let request = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut some = [0; 4096];
        while codec::count_http_oks(&answer)?.0 == 0 {
            match self.stream.read(&mut some)? {
                0 => return Err(Error::Protocol(format!("no answer to {path}"))),
                came => answer.extend_from_slice(&some[..came]),
            }
        }
        Ok(())
    }
}
