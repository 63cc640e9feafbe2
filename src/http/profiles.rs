//! `/debug/pprof`: of the original's profiles only the command line has a counterpart.
//!
//! The others are about Go's runtime. A processor profile of this program is taken with `perf`,
//! from outside, without a broker that has to carry a profiler.

use std::os::unix::ffi::OsStrExt;

use hyper::{Method, StatusCode};

use super::respond::{Failure, Response, plain_text};
use super::router::Route;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The arguments of the process.
    CommandLine,
    /// Something of Go.
    OfGo,
}

/// Why the others are missing.
const NO_PROFILES: Failure = Failure::not_found(
    "NOT_FOUND: Go profiles are not available, this program is not written in Go; use perf instead",
);

/// The routes, which are the original's; the path of the index differs between its programs.
pub fn routes<E>(index: &'static str, endpoint: fn(Profile) -> E) -> Vec<Route<E>> {
    use Profile::{CommandLine, OfGo};
    let (get, post) = (Method::GET, Method::POST);
    let routes = [
        (&get, index, OfGo),
        (&get, "/debug/pprof/cmdline", CommandLine),
        (&get, "/debug/pprof/symbol", OfGo),
        (&post, "/debug/pprof/symbol", OfGo),
        (&get, "/debug/pprof/profile", OfGo),
        (&get, "/debug/pprof/heap", OfGo),
        (&get, "/debug/pprof/goroutine", OfGo),
        (&get, "/debug/pprof/block", OfGo),
        (&get, "/debug/pprof/threadcreate", OfGo),
    ];
    let routes = routes.into_iter();
    routes.map(|(method, path, profile)| (method.clone(), path, endpoint(profile))).collect()
}

/// The answer.
///
/// # Errors
/// There is no such profile, with the reason.
pub fn answer(profile: Profile) -> Result<Response, Failure> {
    match profile {
        Profile::CommandLine => {
            let arguments: Vec<Vec<u8>> =
                std::env::args_os().map(|argument| argument.as_bytes().to_vec()).collect();
            Ok(plain_text(StatusCode::OK, arguments.join(&0)))
        }
        Profile::OfGo => Err(NO_PROFILES),
    }
}
