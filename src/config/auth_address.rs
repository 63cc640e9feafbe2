//! Addresses of auth servers, as they are configured.

use crate::http::client::Url;

/// Where a server is asked: an address is a whole URL, or a host and a port.
pub fn endpoint(address: &str) -> String {
    match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}/auth"),
    }
}

/// Whether a server is asked over TLS.
///
/// # Errors
/// Why it cannot be asked at this address, in words.
pub fn is_secure(address: &str) -> Result<bool, String> {
    Url::parse(&endpoint(address)).map(|url| url.https)
}
