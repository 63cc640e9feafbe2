//! An auth server that says and does what a test wants, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::Asked;
use crate::upgrade::Authority;

/// How it answers one question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with a body.
    Ok(String),
    /// Another status with a body.
    Status(u16, String),
    /// These bytes, whatever they are, and the end of the connection.
    Raw(Vec<u8>),
    /// A body of so many bytes that goes on being JSON.
    Huge(usize),
    /// Nothing for so long, then this.
    After(Duration, Box<Answer>),
}

impl Answer {
    /// The same, later.
    pub fn after(self, time: Duration) -> Answer {
        Answer::After(time, Box::new(self))
    }

    /// A grant for everything that holds for so long.
    pub fn everything(ttl_s: u64) -> Answer {
        let all = r#"{"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}"#;
        Answer::grant(ttl_s, all)
    }

    /// A grant with these entries.
    pub fn grant(ttl_s: u64, entries: &str) -> Answer {
        Answer::Ok(format!(
            "{{\"ttl\":{ttl_s},\"identity\":\"alice\",\
             \"identity_url\":\"http://id.example/alice\",\"authorizations\":[{entries}]}}"
        ))
    }
}

/// A server on a free port, for as long as the test process runs.
pub struct AuthServer {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    busiest: Arc<AtomicUsize>,
}

type Script = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

impl AuthServer {
    /// Answers by this script.
    pub fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> AuthServer {
        Self::start_with(None, Arc::new(script))
    }

    /// The same over TLS, with an authority's certificate for servers.
    pub fn start_tls(
        authority: &Authority,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> AuthServer {
        let chain = vec![CertificateDer::from_pem_file(authority.path("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(authority.path("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start_with(Some(Arc::new(config)), Arc::new(script))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>, script: Script) -> AuthServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (busy, busiest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (log, most) = (seen.clone(), busiest.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, log, tls) = (script.clone(), log.clone(), tls.clone());
                let (busy, most) = (busy.clone(), most.clone());
                thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
                    let answer = |asked: Asked| {
                        most.fetch_max(1 + busy.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        let answer = script(&asked);
                        log.lock().unwrap().push(asked);
                        let answer = settle(answer);
                        busy.fetch_sub(1, Ordering::SeqCst);
                        answer
                    };
                    match tls {
                        None => serve(stream, answer),
                        Some(config) => {
                            let tls = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(tls, stream), answer);
                        }
                    }
                });
            }
        });
        AuthServer { address, seen, busiest }
    }

    /// An address where connections are taken and nothing is ever said.
    pub fn hanging() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let _kept: Vec<TcpStream> = listener.incoming().map_while(Result::ok).collect();
        });
        address
    }

    /// An address where nobody listens.
    pub fn down() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// The flag that makes a broker ask it.
    pub fn flag(&self) -> String {
        format!("--auth-http-address={}", self.address)
    }

    /// All questions so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }

    /// How many questions it had at the same time, at most.
    pub fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }
}

/// Waits as long as an answer is to wait.
fn settle(answer: Answer) -> Answer {
    match answer {
        Answer::After(time, answer) => {
            thread::sleep(time);
            settle(*answer)
        }
        answer => answer,
    }
}

fn serve(mut stream: impl Read + Write, mut answer: impl FnMut(Asked) -> Answer) {
    while let Some(asked) = Asked::read(&mut stream) {
        let (status, body) = match answer(asked) {
            Answer::Ok(body) => (200, body),
            Answer::Status(status, body) => (status, body),
            Answer::Huge(bytes) => (200, format!("{{\"ttl\":60,\"x\":\"{}\"}}", "x".repeat(bytes))),
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::After(..) => unreachable!("it has been waited for"),
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}
