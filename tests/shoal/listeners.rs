//! What brokers listen on besides an IPv4 address: unix sockets, and wildcards for both families.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use crate::harness::{
    Broker, Client, Frame, SOON, TempDir, bytes, eventually, on_each_peer, publish,
};

/// One request on a connection of its own, and the whole response.
fn request(path: &Path, method: &str, target: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// The next frame, once it is there.
fn frame(stream: &mut UnixStream, received: &mut Vec<u8>) -> Frame {
    let mut buffer = [0; 4096];
    loop {
        if let Some(frame) = Frame::take(received) {
            return frame;
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "closed");
        received.extend_from_slice(&buffer[..count]);
    }
}

/// Both protocols on unix sockets: messages come and go, clients have no address, and the files
/// are gone at the end.
#[test]
fn unix_sockets() {
    on_each_peer(|peer| {
        let dir = Arc::new(TempDir::new());
        let [tcp, http] = ["tcp.sock", "http.sock"].map(|name| dir.path().join(name));
        let flags = [("tcp", &tcp), ("http", &http)]
            .map(|(name, path)| format!("--{name}-address={}", path.display()));
        let broker = Broker::start_in(peer, &flags.each_ref().map(String::as_str), dir);
        let mut client = UnixStream::connect(&tcp).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        let mut received = Vec::new();
        client.write_all(&bytes("  V2SUB t c\nRDY 1\n")).unwrap();
        assert_eq!(frame(&mut client, &mut received).describe(), "OK");
        let mut producer = UnixStream::connect(&tcp).unwrap();
        producer.set_read_timeout(Some(SOON)).unwrap();
        producer.write_all(&[bytes("  V2"), publish("t", b"by socket")].concat()).unwrap();
        assert_eq!(frame(&mut producer, &mut Vec::new()).describe(), "OK");
        let Frame::Message(message) = frame(&mut client, &mut received) else {
            panic!("expected a message");
        };
        assert_eq!(message.text(), "by socket");
        client.write_all(format!("FIN {}\n", message.id).as_bytes()).unwrap();
        assert!(request(&http, "POST", "/pub?topic=t", "by HTTP").ends_with("\r\n\r\nOK"));
        let Frame::Message(message) = frame(&mut client, &mut received) else {
            panic!("expected a message");
        };
        assert_eq!(message.text(), "by HTTP");
        let info = request(&http, "GET", "/info", "");
        assert!(info.contains(r#""http_port":-1,"tcp_port":-1"#), "{info}");
        let stats = request(&http, "GET", "/stats?format=json&topic=t", "");
        let nameless = r#"{"client_id":"","hostname":"","version":"V2","remote_address":"@","#;
        assert_eq!(stats.matches(nameless).count(), 2, "{stats}");
        let text = request(&http, "GET", "/stats", "");
        assert!(text.contains("[V2 : "), "{text}");
        drop(client);
        eventually("the consumer is gone", SOON, || {
            request(&http, "GET", "/stats?format=json", "").contains(r#""client_count":0"#)
        });
        broker.stop();
        assert!(!tcp.exists() && !http.exists(), "the files stay behind");
    });
}

/// Where both families come to one socket, IPv4 clients keep their plain addresses.
#[test]
fn wildcards() {
    on_each_peer(|peer| {
        for wildcard in [":0", "0.0.0.0:0", "[::]:0"] {
            let broker = Broker::start(peer, &[&format!("--tcp-address={wildcard}")]);
            let at = std::net::SocketAddr::from(([127, 0, 0, 1], broker.tcp.port()));
            let mut client = Client::bare(at);
            client.send(b"  V2");
            client.subscribe("t", "c");
            client.publish("t", b"x");
            let port = client.stream().local_addr().unwrap().port();
            let stats = broker.channel("t", "c")["clients"][0].clone();
            assert_eq!(stats["remote_address"], format!("127.0.0.1:{port}"), "{wildcard}");
            assert_eq!(stats["client_id"], "127.0.0.1", "{wildcard}");
            assert_eq!(stats["hostname"], "127.0.0.1", "{wildcard}");
            let text = broker.request("GET", "/stats", b"").text().to_string();
            assert!(text.contains(&format!("[V2 127.0.0.1:{port} ")), "{wildcard}: {text}");
        }
    });
}
