//! CPU time and memory of the driver and of the broker, and pinning to a core.

use std::io;
use std::mem::MaybeUninit;

/// CPU time of the calling thread, in nanoseconds.
pub fn thread_cpu_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The CPU clock of a process.
///
/// It counts all its threads, those that have ended and the kernel's io_uring workers included,
/// which a sum over `/proc/PID/task/*/schedstat` would lose. What the kernel does for a socket
/// in the *sender's* system call is counted for the sender: loopback's receive path of a request
/// is the driver's time, that of an answer the broker's.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock {
    clock: libc::clockid_t,
    pid: u32,
}

impl ProcessClock {
    /// The clock of `pid`, which must be running.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut clock: libc::clockid_t = 0;
        // SAFETY: `clock` is valid for writing across the call.
        let rc = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
        if rc != 0 {
            return Err(io::Error::from_raw_os_error(rc));
        }
        Ok(Self { clock, pid })
    }

    /// CPU time so far, in nanoseconds; lags by at most one scheduler tick while a thread runs.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        clock_ns(self.clock)
    }

    /// Resident memory now and at its highest, in bytes.
    pub fn memory(&self) -> io::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(Memory {
            rss_bytes: status_bytes(&status, "VmRSS:"),
            rss_max_bytes: status_bytes(&status, "VmHWM:"),
        })
    }

    /// What the process has written so far; only its owner may ask.
    pub fn io(&self) -> io::Result<Io> {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.pid))?;
        Ok(Io { write_bytes: number(&text, "write_bytes:"), wchar: number(&text, "wchar:") })
    }

    /// How many cores the process may run on.
    pub fn cores(&self) -> io::Result<usize> {
        affinity_cores(self.pid as libc::pid_t)
    }
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// Now.
    pub rss_bytes: u64,
    /// The highest since the process started.
    pub rss_max_bytes: u64,
}

/// Bytes that a process has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Io {
    /// To storage, in whole pages, those included that lie in the kernel's cache.
    pub write_bytes: u64,
    /// With `write` and its like, to files and sockets; the kernel does not count io_uring here.
    pub wchar: u64,
}

impl Io {
    /// What came since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            write_bytes: self.write_bytes.saturating_sub(before.write_bytes),
            wchar: self.wchar.saturating_sub(before.wchar),
        }
    }
}

/// Pins the calling thread, and what it spawns from now on, to some cores.
pub fn pin_to_cores(cores: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    for &core in cores {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no core {core}")));
        }
        // SAFETY: `core` was checked against the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the set is initialised and of the size given; 0 is the calling thread.
    let rc = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets this process, and those that it starts, have so many files open.
pub fn raise_file_limit(files: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= files {
        return Ok(());
    }
    limit.rlim_cur = files;
    // Only root may raise the upper limit, and is refused by the kernel otherwise.
    limit.rlim_max = limit.rlim_max.max(files);
    // SAFETY: `limit` is valid for reading across the call.
    let rc = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks for timers that fire when they are due instead of up to 50 µs later.
pub fn sharpen_timers() -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    let rc = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize, 0_usize, 0_usize, 0_usize) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CPU time of everything on this machine since it started, stolen time included, to see how
/// much of it was neither the driver nor the broker. Counts in steps of 10 ms.
pub fn machine_busy_ns() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let total = stat.lines().next().unwrap_or_default();
    Ok(busy_ticks(total) * (1_000_000_000 / TICKS_PER_SECOND))
}

/// The unit of `/proc/stat`, which is the same on every Linux that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Sums user, nice, system, irq, softirq and steal; leaves out idle and waiting.
fn busy_ticks(line: &str) -> u64 {
    let fields = line.split_ascii_whitespace().skip(1).take(8).enumerate();
    let busy = fields.filter(|(index, _)| *index != 3 && *index != 4);
    busy.filter_map(|(_, text)| text.parse::<u64>().ok()).sum()
}

fn affinity_cores(pid: libc::pid_t) -> io::Result<usize> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the set is valid for writing and of the size given.
    let rc = unsafe { libc::sched_getaffinity(pid, size_of::<libc::cpu_set_t>(), &mut set) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has filled the set.
    Ok(unsafe { libc::CPU_COUNT(&set) } as usize)
}

fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing across the call.
    let rc = unsafe { libc::clock_gettime(clock, &mut time) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn status_bytes(status: &str, field: &str) -> u64 {
    number(status, field) * 1024
}

fn number(text: &str, field: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_advance_with_work_and_agree() {
        let clock = ProcessClock::of(std::process::id()).unwrap();
        let (thread, process) = (thread_cpu_ns().unwrap(), clock.cpu_ns().unwrap());
        let mut sum = 0_u64;
        while thread_cpu_ns().unwrap() < thread + 20_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        // Other tests run beside this one, so the process may have used more than this thread.
        assert!(clock.cpu_ns().unwrap() >= process + 15_000_000);
        assert!(clock.memory().unwrap().rss_bytes > 100_000);
        assert!(clock.cores().unwrap() >= 1);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 8000 9000 16 32 64 128 256"), 1 + 2 + 4 + 16 + 32 + 64);
    }

    #[test]
    fn what_is_written_is_counted() {
        let clock = ProcessClock::of(std::process::id()).unwrap();
        let before = clock.io().unwrap();
        std::fs::write("/dev/null", [0; 12_345]).unwrap();
        assert!(clock.io().unwrap().since(before).wchar >= 12_345);
        let text = "wchar: 7\nsyscw: 8\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n";
        assert_eq!((number(text, "wchar:"), number(text, "write_bytes:")), (7, 4096));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), 1024 * 1024);
        assert_eq!(status_bytes(status, "VmHWM:"), 2048 * 1024);
        assert_eq!(status_bytes(status, "VmNot:"), 0);
    }
}
