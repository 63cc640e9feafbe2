//! A certificate for a broker of the rows about TLS, made anew for each.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use loadtest::wrap::{self, Tls, Trust};

/// The name in it.
const NAME: &str = "localhost";

const CERTIFICATE: &str = "certificate.pem";

const KEY: &str = "key.pem";

/// Makes one in a broker's folder, and the broker's command name it.
pub fn give(command: &mut Command, folder: &Path) -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    command.arg(format!("--tls-cert={}", certificate.display()));
    command.arg(format!("--tls-key={}", key.display()));
    // With a certificate there is HTTPS, too, on a fixed port unless told otherwise.
    command.arg("--https-address=127.0.0.1:0");
    Ok(())
}

/// TLS that takes this certificate only.
pub fn trust(folder: &Path) -> loadtest::Result<Tls> {
    let trust = Trust { ca: Some(folder.join(CERTIFICATE)), identity: None };
    Tls::new(wrap::client_config(&trust)?, NAME.to_owned())
}
