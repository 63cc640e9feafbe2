//! The original's switches for debugging, which are about Go's runtime.

use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;

use crate::http::respond::{Response, plain_text};

use super::Call;
use super::desk::Desk;
use super::memory;

/// `/debug/setblockrate`: a rate that is no number is refused like in the original; there is
/// nothing that a good one could be applied to. (The original applies it and answers 500.)
#[must_use]
pub fn set_block_rate<D: Desk>(call: &Call<'_, D>) -> Response {
    let rate = call.query().ok().and_then(|query| query.get("rate")).unwrap_or_default();
    let rate = String::from_utf8_lossy(&rate);
    let fault = match rate.parse::<i64>() {
        Ok(_) => {
            let reason = "there is no block profile: this broker is not a Go program";
            return plain_text(StatusCode::NOT_IMPLEMENTED, reason);
        }
        Err(error) => match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        },
    };
    let text = format!("invalid block rate : strconv.Atoi: parsing {rate:?}: {fault}");
    plain_text(StatusCode::BAD_REQUEST, text)
}

/// `/debug/freememory`: gives unused memory back to the system. It may take a while, which no
/// shard can afford, so a thread does it after the answer. (The original answers 500 even when it
/// has worked; 200 is what it means.)
#[must_use]
pub fn free_memory() -> Response {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    if !RUNNING.swap(true, Ordering::AcqRel) {
        let thread = std::thread::Builder::new().name("free-memory".to_owned());
        let started = thread.spawn(|| {
            memory::release();
            RUNNING.store(false, Ordering::Release);
        });
        if let Err(error) = started {
            RUNNING.store(false, Ordering::Release);
            tracing::error!("failed to start a thread - {error}");
            return plain_text(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR");
        }
    }
    plain_text(StatusCode::OK, "")
}
