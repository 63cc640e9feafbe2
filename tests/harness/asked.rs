//! What a server of a test was asked over HTTP.

use std::io::Read;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and target.
    pub line: String,
    /// The head's other lines.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// Reads one; `None` at the end of the connection.
    pub fn read(stream: &mut impl Read) -> Option<Asked> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let lines = head.split("\r\n").filter(|line| !line.is_empty());
        let mut lines = lines.map(ToString::to_string);
        let line = lines.next()?.replace(" HTTP/1.1", "");
        let headers: Vec<String> = lines.collect();
        let length = headers.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).ok()?;
        Some(Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Head and body in one text, the first line being method and target.
    pub fn text(&self) -> String {
        let head: Vec<&str> =
            std::iter::once(&self.line).chain(&self.headers).map(String::as_str).collect();
        format!("{}\r\n\r\n{}", head.join("\r\n"), self.body)
    }
}
