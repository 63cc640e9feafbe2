//! Whether this machine can run a ring, and if not, what is missing and what helps.

use std::ffi::CStr;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use io_uring::opcode::{Accept, AsyncCancel, Fsync, OpenAt, PollAdd, Read, Recv, Write};

use super::{Doorbell, Event, Reading, Ring, RingOptions};

/// The oldest kernel that can do what a ring needs: multishot receive.
const KERNEL_MIN: (u32, u32) = (6, 0);

/// Longest wait for the probe's own byte.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// The kernel's switch for `io_uring`.
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Why a ring cannot be used here. Its text is one line and says what to do.
#[derive(Debug)]
pub enum RingProblem {
    /// The administrator switched `io_uring` off; the number is the switch's value.
    Disabled(u8),
    /// Something between the process and the kernel forbids it, usually a container's seccomp
    /// profile; the number is the error that it answers with.
    Forbidden(i32),
    /// The kernel is older than what is needed, or lacks the part named.
    Kernel {
        /// The running kernel.
        release: String,
        /// What it cannot do.
        lacks: &'static str,
    },
    /// Memory that may be locked has run out; the number is the limit in bytes, if there is one.
    LockedMemory(Option<u64>),
    /// No file descriptor is left.
    Descriptors,
    /// The ring was made but does not work.
    Broken(&'static str),
    /// Any other error of the kernel.
    Other(io::Error),
}

impl fmt::Display for RingProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = KERNEL_MIN;
        match self {
            RingProblem::Disabled(value) => write!(
                out,
                "io_uring is switched off (kernel.io_uring_disabled is {value}): set it to 0 with \
                 `sysctl kernel.io_uring_disabled=0`"
            ),
            RingProblem::Forbidden(errno) => write!(
                out,
                "io_uring is forbidden here ({}): in a container, allow io_uring_setup, \
                 io_uring_enter and io_uring_register in its seccomp profile",
                io::Error::from_raw_os_error(*errno)
            ),
            RingProblem::Kernel { release, lacks } => write!(
                out,
                "Linux {release} has no {lacks}: Linux {major}.{minor} or newer is needed, with \
                 CONFIG_IO_URING"
            ),
            RingProblem::LockedMemory(Some(bytes)) => write!(
                out,
                "the limit of locked memory ({bytes} bytes) is too low for io_uring: raise it \
                 (`ulimit -l`, LimitMEMLOCK=) or start fewer shards"
            ),
            RingProblem::LockedMemory(None) => {
                write!(out, "there is too little memory to set up io_uring: start fewer shards")
            }
            RingProblem::Descriptors => write!(
                out,
                "no file descriptor is left for io_uring: raise the limit (`ulimit -n`, \
                 LimitNOFILE=)"
            ),
            RingProblem::Broken(what) => write!(
                out,
                "io_uring does not work as it should here ({what}): Linux {major}.{minor} or newer \
                 is needed, and nothing that emulates it"
            ),
            RingProblem::Other(error) => write!(out, "io_uring cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for RingProblem {}

/// Makes a small ring and receives a byte through it, as a shard would.
///
/// # Errors
///
/// What stands in the way.
pub fn probe() -> Result<(), RingProblem> {
    let options = RingOptions { entries: 8, buffers: 2, buffer_bytes: 4096 };
    let doorbell = Doorbell::new().map_err(|error| Here::look().explain(error))?;
    let mut ring = Ring::new(&options, doorbell).map_err(|error| Here::look().explain(error))?;
    check_features(&ring)?;
    receive_twice(&mut ring)
}

/// Looks for what a ring needs from the kernel and can be asked for.
fn check_features(ring: &Ring) -> Result<(), RingProblem> {
    let ring = ring.queue.ring();
    let lacks = |lacks| Err(RingProblem::Kernel { release: release(), lacks });
    if !ring.params().is_feature_nodrop() {
        return lacks("completion queue that loses nothing");
    }
    if !ring.params().is_feature_ext_arg() {
        return lacks("io_uring wait with a timeout");
    }
    let mut known = io_uring::Probe::new();
    ring.submitter().register_probe(&mut known).map_err(RingProblem::Other)?;
    for (code, name) in [
        (Recv::CODE, "io_uring receive"),
        (Accept::CODE, "io_uring accept"),
        (PollAdd::CODE, "io_uring poll"),
        (AsyncCancel::CODE, "io_uring cancel"),
        (OpenAt::CODE, "io_uring open"),
        (Read::CODE, "io_uring read"),
        (Write::CODE, "io_uring write"),
        (Fsync::CODE, "io_uring sync"),
    ] {
        if !known.is_supported(code) {
            return lacks(name);
        }
    }
    Ok(())
}

/// Receives two bytes with one request. Whether a kernel can is not to be asked, only to be tried;
/// one that can (6.0) has the multishot accept and poll (5.19, 5.13) as well.
fn receive_twice(ring: &mut Ring) -> Result<(), RingProblem> {
    let (ours, mut theirs) = UnixStream::pair().map_err(RingProblem::Other)?;
    ring.add(OwnedFd::from(ours), Reading::Continuous);
    for _ in 0..2 {
        theirs.write_all(b"!").map_err(RingProblem::Other)?;
        receive_one(ring)?;
    }
    Ok(())
}

fn receive_one(ring: &mut Ring) -> Result<(), RingProblem> {
    let deadline = Instant::now() + PROBE_PATIENCE;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        ring.wait(Some(left), || true).map_err(RingProblem::Other)?;
        let mut outcome = None;
        ring.events(|event| match event {
            Event::Received { bytes: b"!", .. } => outcome = Some(Ok(())),
            Event::Failed { error, .. } => outcome = Some(Err(Here::look().explain_receive(error))),
            Event::Received { .. } | Event::Ended { .. } => {
                outcome = Some(Err(RingProblem::Broken("received something else than was sent")));
            }
            _ => {}
        });
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
    Err(RingProblem::Broken("received nothing of what was sent"))
}

/// What explains an error: the switch, the kernel and the limit of this machine.
struct Here {
    switch: Option<u8>,
    release: String,
    locked_max_bytes: Option<u64>,
}

impl Here {
    fn look() -> Here {
        let switch = std::fs::read_to_string(SWITCH).ok();
        Here {
            switch: switch.and_then(|value| value.trim().parse().ok()),
            release: release(),
            locked_max_bytes: locked_max_bytes(),
        }
    }

    /// Why a ring could not be made.
    fn explain(&self, error: io::Error) -> RingProblem {
        let kernel = |lacks| RingProblem::Kernel { release: self.release.clone(), lacks };
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if self.switch.unwrap_or(0) > 0 => {
                RingProblem::Disabled(self.switch.unwrap_or(0))
            }
            Some(errno @ (libc::EPERM | libc::EACCES)) => RingProblem::Forbidden(errno),
            // The switch exists only in kernels that have io_uring.
            Some(libc::ENOSYS) if self.switch.is_some() => RingProblem::Forbidden(libc::ENOSYS),
            Some(libc::ENOSYS) => kernel("io_uring"),
            Some(libc::EINVAL) => kernel("io_uring with shared receive buffers"),
            Some(libc::ENOMEM) => RingProblem::LockedMemory(self.locked_max_bytes),
            Some(libc::EMFILE | libc::ENFILE) => RingProblem::Descriptors,
            _ => RingProblem::Other(error),
        }
    }

    /// Why a ring could not receive.
    fn explain_receive(&self, error: io::Error) -> RingProblem {
        match error.raw_os_error() {
            Some(libc::EINVAL) => {
                let lacks = "multishot receive in io_uring";
                RingProblem::Kernel { release: self.release.clone(), lacks }
            }
            _ => RingProblem::Other(error),
        }
    }
}

/// The running kernel's version, as `uname -r` prints it.
fn release() -> String {
    // SAFETY: utsname is plain arrays of bytes, for which zero is a value.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` is writable and of the size that the call expects.
    if unsafe { libc::uname(&raw mut names) } != 0 {
        return String::from("of unknown version");
    }
    // SAFETY: uname ended the string with a zero byte within the array.
    unsafe { CStr::from_ptr(names.release.as_ptr()) }.to_string_lossy().into_owned()
}

/// The limit of locked memory, if there is one.
fn locked_max_bytes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the size that the call expects.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(switch: Option<u8>) -> Here {
        let release = String::from("5.4.0-42");
        Here { switch, release, locked_max_bytes: Some(65536) }
    }

    fn said(here: &Here, errno: i32) -> String {
        here.explain(io::Error::from_raw_os_error(errno)).to_string()
    }

    #[test]
    fn this_machine_can() {
        assert!(probe().is_ok(), "{}", probe().unwrap_err());
    }

    #[test]
    fn every_problem_names_its_remedy_in_one_line() {
        for (switch, errno, names) in [
            (Some(2), libc::EPERM, "sysctl kernel.io_uring_disabled=0"),
            (Some(1), libc::EPERM, "kernel.io_uring_disabled is 1"),
            (Some(0), libc::EPERM, "seccomp"),
            (None, libc::EPERM, "seccomp"),
            (Some(0), libc::ENOSYS, "seccomp"),
            (None, libc::ENOSYS, "Linux 5.4.0-42 has no io_uring: Linux 6.0"),
            (Some(0), libc::EINVAL, "shared receive buffers"),
            (Some(0), libc::ENOMEM, "65536 bytes"),
            (Some(0), libc::EMFILE, "LimitNOFILE="),
            (Some(0), libc::EIO, "Input/output error"),
        ] {
            let text = said(&here(switch), errno);
            assert!(text.contains(names), "{errno} with {switch:?}: {text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_kernel_without_multishot_receive_is_named() {
        let problem = here(None).explain_receive(io::Error::from_raw_os_error(libc::EINVAL));
        assert!(problem.to_string().contains("multishot receive"), "{problem}");
    }
}
