//! nsqlookupd in the broker's process: `--with-lookupd`, and `shoal` with nothing else.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;

use super::on_our_lookupd;
use crate::harness::{Broker, Client, Peer, SOON, TempDir, program, request};

const REASON: &str = "the original has a process for each program";
const SHOAL: Peer = Peer::Shoal { shards: 2 };
const ANYWHERE: [&str; 3] = [
    "--with-lookupd",
    "--with-lookupd-tcp-address=127.0.0.1:0",
    "--with-lookupd-http-address=127.0.0.1:0",
];

/// Where the nsqlookupd within a broker listens.
fn listener(broker: &Broker, name: &str) -> SocketAddr {
    let text = format!("{name} of nsqlookupd: listening on ");
    let line = broker.log_line(&text).expect("it says so before the broker is ready");
    line.split(&text).nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn it_answers_beside_the_broker_and_ends_with_it() {
    on_our_lookupd(REASON, || {
        let mut broker = Broker::start(SHOAL, &ANYWHERE);
        let http = listener(&broker, "HTTP");
        assert_eq!(request(http, "GET", "/ping", b"").text(), "OK");
        assert_eq!(request(http, "POST", "/topic/create?topic=t", b"").status, 200);
        assert_eq!(request(http, "GET", "/topics", b"").text(), r#"{"topics":["t"]}"#);
        Client::new(&broker).alive();
        // The broker is told where it is.
        let tcp = listener(&broker, "TCP");
        let told = broker.request("GET", "/config/nsqlookupd_tcp_addresses", b"");
        assert_eq!(told.text(), format!("[\"{tcp}\"]"));
        broker.signal(libc::SIGTERM);
        assert_eq!(broker.wait(SOON).code(), Some(0));
        assert!(std::net::TcpStream::connect(http).is_err());
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    on_our_lookupd(REASON, || {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        for flag in ["tcp", "http"] {
            let flag = format!("--with-lookupd-{flag}-address={address}");
            let flags = [ANYWHERE.as_slice(), &[&flag]].concat();
            let dir = TempDir::new();
            let exit = Broker::run(Broker::command(SHOAL, &flags, &dir), SOON);
            assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
            let text = format!(
                "FATAL: failed to instantiate nsqlookupd - listen ({address}) failed - listen tcp \
                 {address}: bind: address already in use"
            );
            assert!(exit.output.contains(&text), "{}", exit.output);
        }
    });
}

/// Alone it has no flags, so it has to be asked where nothing else uses its ports.
#[test]
fn alone_it_is_everything() {
    on_our_lookupd(REASON, || {
        let ports = [4150, 4151, 4160, 4161];
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        if !ports.iter().all(free) {
            eprintln!("needs the ports {ports:?}, and somebody uses one of them");
            return;
        }
        let dir = Arc::new(TempDir::new());
        let mut command = Command::new(program(SHOAL));
        command.current_dir(dir.path());
        let broker = Broker::spawn(command, dir);
        let http = listener(&broker, "HTTP");
        assert_eq!(http.port(), 4161);
        let lookup = SocketAddr::from(([127, 0, 0, 1], 4161));
        assert_eq!(request(lookup, "GET", "/ping", b"").text(), "OK");
        let broker_http = SocketAddr::from(([127, 0, 0, 1], 4151));
        assert_eq!(request(broker_http, "GET", "/ping", b"").text(), "OK");
    });
}
