//! `/config/<option>`: looking at options, and changing the two that can change.

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::AdminSite;
use crate::config::value;
use crate::http::respond::{Failure, Response, v1_json, v1_text};
use crate::http::server::Request;
use crate::log::{self, LogLevel};

/// The longest value.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// GET shows the option's value; PUT sets it from the body and shows it.
pub fn config(site: &AdminSite, request: &Request<'_>) -> Result<Response, Failure> {
    site.access.admit_config(request.remote)?;
    let option = request.params.get("opt").unwrap_or_default();
    if request.parts.method == Method::PUT {
        set(site, option, &request.body)?;
        tracing::info!("AUDIT: config {option:?} set from={}", request.remote);
    }
    match site.settings.borrow().shown().remove(option) {
        Some(Value::String(text)) => Ok(v1_text(text)),
        Some(value) => Ok(v1_json(&value)),
        None => Err(Failure::bad_request("INVALID_OPTION")),
    }
}

fn set(site: &AdminSite, option: &str, body: &[u8]) -> Result<(), Failure> {
    if body.is_empty() || body.len() > VALUE_BYTES_MAX {
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_VALUE"));
    }
    let invalid = || Failure::bad_request("INVALID_VALUE");
    match option {
        "nsqlookupd_http_addresses" => {
            let list: Option<Vec<String>> = serde_json::from_slice(body).map_err(|_| invalid())?;
            let list = list.unwrap_or_default();
            // They become parts of URLs.
            if !list.iter().all(|address| is_address(address)) {
                return Err(invalid());
            }
            site.cluster.set_lookupds(list.clone());
            let mut settings = site.settings.borrow_mut();
            settings.set("lookupd-http-address", value::Value::Texts(list));
        }
        "log_level" => {
            let name = std::str::from_utf8(body).map_err(|_| invalid())?;
            let level = LogLevel::parse(name).map_err(|_| invalid())?;
            log::set_level(level);
            site.settings.borrow_mut().set("log-level", value::Value::LogLevel(level));
        }
        _ => return Err(Failure::bad_request("INVALID_OPTION")),
    }
    Ok(())
}

/// `host:port` and nothing more.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let of_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    !host.is_empty() && host.chars().all(of_host) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn addresses_cannot_be_urls() {
        assert!(is_address("h-1.x:4161") && is_address("[::1]:4161") && is_address("10.0.0.1:1"));
        for bad in ["h", "h:", ":1", "http://h:1", "h:1/x", "h/x:1", "a@b:1", "h?x:1", "h:99999"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
