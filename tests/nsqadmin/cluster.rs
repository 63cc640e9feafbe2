//! A live cluster: two lookup servers, two brokers of ours, and an original one where it is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Admin, lookupd};
use crate::harness::{Broker, Peer, SOON};

/// Everything that runs.
pub struct Cluster {
    /// Lookup servers.
    pub lookupds: Vec<(Admin, SocketAddr)>,
    /// Brokers.
    pub brokers: Vec<Broker>,
    /// Registrations, as long as they are open.
    registered: Vec<TcpStream>,
}

impl Cluster {
    /// Starts it; nothing is registered yet.
    pub fn start() -> Cluster {
        let mut peers = vec![Peer::Shoal { shards: 1 }, Peer::Shoal { shards: 2 }];
        if std::env::var_os("SHOAL_TEST_PEER").is_some() {
            peers.push(Peer::Original);
        }
        let brokers = peers.into_iter().map(|peer| Broker::start(peer, &[])).collect();
        Cluster { lookupds: vec![lookupd(), lookupd()], brokers, registered: Vec::new() }
    }

    /// `--lookupd-http-address` for all.
    pub fn lookupd_flags(&self) -> Vec<String> {
        let flag =
            |(lookupd, _): &(Admin, SocketAddr)| format!("--lookupd-http-address={}", lookupd.http);
        self.lookupds.iter().map(flag).collect()
    }

    /// `--nsqd-http-address` for all.
    pub fn nsqd_flags(&self) -> Vec<String> {
        self.brokers.iter().map(|broker| format!("--nsqd-http-address={}", broker.http)).collect()
    }

    /// Tells a lookup server of a broker and what it has, as that would: `topic` or
    /// `topic channel`.
    pub fn register(&mut self, lookupd: usize, broker: usize, names: &[&str]) {
        let broker = &self.brokers[broker];
        let mut stream = TcpStream::connect(self.lookupds[lookupd].1).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let about = format!(
            r#"{{"broadcast_address":"127.0.0.1","hostname":"h{}","tcp_port":{},"http_port":{},"version":"1.3.0"}}"#,
            broker.http.port(),
            broker.tcp.port(),
            broker.http.port()
        );
        let length = u32::try_from(about.len()).unwrap().to_be_bytes();
        stream.write_all(b"  V1IDENTIFY\n").unwrap();
        stream.write_all(&[&length[..], about.as_bytes()].concat()).unwrap();
        read_frame(&mut stream);
        for name in names {
            stream.write_all(format!("REGISTER {name}\n").as_bytes()).unwrap();
            assert_eq!(read_frame(&mut stream), b"OK", "REGISTER {name}");
        }
        self.registered.push(stream);
    }

    /// A cluster with three topics: `orders` everywhere, `clicks` on the second broker, and `idle`
    /// nowhere; the second lookup server knows only of the first broker.
    pub fn with_topics() -> Cluster {
        let mut cluster = Cluster::start();
        for (at, broker) in cluster.brokers.iter().enumerate() {
            broker.post("/topic/create?topic=orders");
            broker.post("/channel/create?topic=orders&channel=archive");
            for message in 0..=at {
                let reply =
                    broker.request("POST", "/pub?topic=orders", message.to_string().as_bytes());
                assert_eq!(reply.status, 200);
            }
        }
        cluster.brokers[1].post("/topic/create?topic=clicks");
        cluster.brokers[1].post("/channel/create?topic=orders&channel=second");
        cluster.brokers[1].post("/topic/pause?topic=clicks");
        for broker in 0..cluster.brokers.len() {
            cluster.register(0, broker, &["orders", "orders archive"]);
        }
        cluster.register(1, 0, &["orders", "orders archive"]);
        cluster.register_more();
        cluster
    }

    /// What only the second broker has, on the connection that it has already.
    fn register_more(&mut self) {
        let stream = &mut self.registered[1];
        for name in ["clicks", "orders second"] {
            stream.write_all(format!("REGISTER {name}\n").as_bytes()).unwrap();
            assert_eq!(read_frame(stream), b"OK");
        }
        let (lookupd, _) = &self.lookupds[0];
        let reply = lookupd.send("POST", "/channel/create?topic=idle&channel=ch", "");
        assert_eq!(reply.status, 200);
    }
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    frame
}
