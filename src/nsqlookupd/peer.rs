//! What a producer says of itself, and how others are told.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

/// A producer as its IDENTIFY describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its end of the connection, `ip:port`: as it is seen, whatever it says.
    pub remote_address: String,
    /// The name of its host.
    pub hostname: String,
    /// Where clients find it.
    pub broadcast_address: String,
    /// The port for its TCP clients.
    pub tcp_port: i64,
    /// The port for its HTTP clients.
    pub http_port: i64,
    /// Its version.
    pub version: String,
    /// Its zone; may be empty.
    pub topology_zone: String,
    /// Its region; may be empty.
    pub topology_region: String,
}

impl PeerInfo {
    /// Reads the body of IDENTIFY by the rules of Go's decoder: keys in any case, unknown ones
    /// ignored, the last of several wins, `null` says nothing.
    pub fn parse(body: &[u8]) -> Result<PeerInfo, serde_json::Error> {
        // Go takes broken UTF-8 and puts a sign in its place.
        let text = String::from_utf8_lossy(body);
        let mut reader = serde_json::Deserializer::from_str(&text);
        let info = reader.deserialize_any(InfoVisitor)?;
        reader.end()?;
        Ok(info)
    }

    /// Whether everything is there that others need.
    pub fn is_complete(&self) -> bool {
        let texts = [&self.broadcast_address, &self.version];
        let ports = [self.tcp_port, self.http_port];
        texts.iter().all(|text| !text.is_empty()) && ports.iter().all(|&port| port != 0)
    }

    /// How `/topic/tombstone` names it. (Without brackets around IPv6, as in the original.)
    pub fn node(&self) -> String {
        format!("{}:{}", self.broadcast_address, self.http_port)
    }

    /// The inside of its JSON object in `/lookup` and `/nodes`.
    pub fn fields(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("\"remote_address\":");
        push_text(&mut out, &self.remote_address);
        out.push_str(",\"hostname\":");
        push_text(&mut out, &self.hostname);
        out.push_str(",\"broadcast_address\":");
        push_text(&mut out, &self.broadcast_address);
        let (tcp, http) = (self.tcp_port, self.http_port);
        out.push_str(&format!(",\"tcp_port\":{tcp},\"http_port\":{http},\"version\":"));
        push_text(&mut out, &self.version);
        out.push_str(",\"topology_zone\":");
        push_text(&mut out, &self.topology_zone);
        out.push_str(",\"topology_region\":");
        push_text(&mut out, &self.topology_region);
        out
    }
}

/// Appends a JSON string as Go writes it: what HTML would take for its own is escaped.
pub fn push_text(out: &mut String, text: &str) {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    let mut writer = serde_json::Serializer::new(&mut quoted);
    // Text always has a JSON form, and a vector takes everything.
    text.serialize(&mut writer).expect("a string can be written to memory as JSON");
    for c in String::from_utf8_lossy(&quoted).chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

struct InfoVisitor;

impl<'de> Visitor<'de> for InfoVisitor {
    type Value = PeerInfo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<PeerInfo, E> {
        Ok(PeerInfo::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PeerInfo, A::Error> {
        let mut info = PeerInfo::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.to_lowercase().as_str() {
                "hostname" => set(&mut info.hostname, map.next_value()?),
                "broadcast_address" => set(&mut info.broadcast_address, map.next_value()?),
                "tcp_port" => set(&mut info.tcp_port, map.next_value()?),
                "http_port" => set(&mut info.http_port, map.next_value()?),
                "version" => set(&mut info.version, map.next_value()?),
                "topology_zone" => set(&mut info.topology_zone, map.next_value()?),
                "topology_region" => set(&mut info.topology_region, map.next_value()?),
                // It is overwritten, but it has to be a text.
                "remote_address" => set(&mut info.remote_address, map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(info)
    }
}

fn set<T>(field: &mut T, said: Option<T>) {
    if let Some(value) = said {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::PeerInfo;

    fn parse(body: &str) -> Option<PeerInfo> {
        PeerInfo::parse(body.as_bytes()).ok()
    }

    #[test]
    fn bodies_are_read_by_gos_rules() {
        let whole = r#" {"broadcast_address":"b","hostname":"h","http_port":2,"tcp_port":1,
            "topology_region":"r","topology_zone":"z","version":"1.3.0","more":[{"x":null}]} "#;
        let info = parse(whole).unwrap();
        assert_eq!(info.node(), "b:2");
        assert!(info.is_complete());
        assert_eq!((info.topology_region.as_str(), info.topology_zone.as_str()), ("r", "z"));
        let info = parse(r#"{"Version":"a","VERSION":"b","version":null,"tcp_port":-1}"#).unwrap();
        assert_eq!((info.version.as_str(), info.tcp_port), ("b", -1));
        assert!(!info.is_complete());
        assert_eq!(parse("null"), Some(PeerInfo::default()));
        let lossy = PeerInfo::parse(b"{\"version\":\"\xff\"}").unwrap();
        assert_eq!(lossy.version, "\u{fffd}");
    }

    #[test]
    fn what_go_cannot_decode_is_refused() {
        for body in [
            "",
            "[]",
            "1",
            "{",
            "{} x",
            r#"{"tcp_port":"1"}"#,
            r#"{"tcp_port":1.0}"#,
            r#"{"tcp_port":1e3}"#,
            r#"{"tcp_port":9223372036854775808}"#,
            r#"{"version":1}"#,
            r#"{"remote_address":1}"#,
        ] {
            assert_eq!(parse(body), None, "{body}");
        }
    }

    #[test]
    fn others_are_told_in_the_originals_order_and_escapes() {
        let mut info =
            parse(r#"{"broadcast_address":"<&>","version":"\"","http_port":2}"#).unwrap();
        info.remote_address = "127.0.0.1:9".to_owned();
        assert_eq!(
            info.fields(),
            concat!(
                r#""remote_address":"127.0.0.1:9","hostname":"","#,
                r#""broadcast_address":"\u003c\u0026\u003e","tcp_port":0,"http_port":2,"#,
                r#""version":"\"","topology_zone":"","topology_region":"""#
            )
        );
    }
}
