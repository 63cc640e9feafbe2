//! Connections that IDENTIFY turns into others: TLS, snappy, deflate, and TLS with either; what is
//! demanded of them, what is wrong with them, and HTTPS.

mod authority;
mod bad;
mod foreign;
pub mod https;
mod layers;
mod limits;
mod long;
mod policy;
mod reload;
mod secure;
mod shown;

pub use authority::Authority;
pub use secure::{Kind, Secure};

/// The flags for a server with a certificate of this authority, and no HTTPS on a fixed port.
pub fn tls_flags(authority: &Authority) -> Vec<String> {
    vec![
        format!("--tls-cert={}", authority.path("server.pem")),
        format!("--tls-key={}", authority.path("server.key")),
        "--https-address=127.0.0.1:0".to_string(),
    ]
}

/// Starts a broker with a certificate and these flags.
pub fn start(
    peer: crate::harness::Peer,
    authority: &Authority,
    more: &[&str],
) -> crate::harness::Broker {
    let flags = tls_flags(authority);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    crate::harness::Broker::start(peer, &flags)
}
