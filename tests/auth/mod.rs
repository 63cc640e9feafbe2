//! AUTH: what auth servers are asked, what their answers allow, and what becomes of clients when
//! they answer nothing, or nonsense.

mod contract;
mod expiry;
mod failing;
mod http;
mod load;
mod server;

use crate::harness::{Broker, Client};
use server::{Answer, AuthServer};

/// `AUTH` with its secret.
fn auth(secret: &str) -> Vec<u8> {
    let mut bytes = b"AUTH\n".to_vec();
    bytes.extend_from_slice(&(secret.len() as u32).to_be_bytes());
    bytes.extend_from_slice(secret.as_bytes());
    bytes
}

/// The answer to `AUTH` by a grant with so many entries.
fn granted(entries: usize) -> String {
    format!(
        "{{\"identity\":\"alice\",\"identity_url\":\"http://id.example/alice\",\
         \"permission_count\":{entries}}}"
    )
}

/// A client that was granted something.
fn authed(broker: &Broker, secret: &str) -> Client {
    let mut client = Client::new(broker);
    client.send(&auth(secret));
    let answer = client.frame().describe();
    assert!(answer.contains("\"permission_count\":"), "{answer}");
    client
}
