//! The process and the machine: memory, time, descriptors, the data path.

use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::UNIX_EPOCH;

use prometheus::Result;
use prometheus::proto::MetricType;

use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};
use crate::http::exposition::{Exposition, f64_of, metric};
use crate::log;
use crate::nsqd::disk::{FolderUse, Space};
use crate::nsqd::http::facts::Facts;
use crate::nsqd::startup::progress::Step;
use crate::nsqd::statistics::office::Sources;

/// Writes it.
pub fn write(page: &mut Exposition, sources: &Sources) -> Result<()> {
    write_start(page, &sources.facts)?;
    write_data_path(page, &sources.data_path)?;
    page.gauge(
        "nsq_data_path_free_bytes_min",
        "Room on that disk below which publishes are refused; 0 for none.",
        sources.facts.floor.least_bytes(),
    )?;
    page.counter(
        "nsq_log_lines_dropped_total",
        "Lines of the log that found it full: standard error was blocked.",
        log::dropped_lines(),
    )
}

/// What there is to tell from the beginning.
pub fn write_start(page: &mut Exposition, facts: &Facts) -> Result<()> {
    let labels = [("version", NSQ_VERSION), ("shoal_version", SHOAL_VERSION)];
    let about = metric(MetricType::GAUGE, &labels, 1.0);
    let help = "Always 1; the labels say what runs.";
    page.family(MetricType::GAUGE, "nsq_build_info", help, vec![about])?;
    let started = facts.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.seconds("nsq_start_time_seconds", "When it started, since 1970.", started)?;
    page.seconds("process_start_time_seconds", "When it started, since 1970.", started)?;
    let progress = &facts.progress;
    let help = "Whether files of an earlier start are being read: nothing is served meanwhile.";
    page.gauge("nsq_recovering", help, u64::from(progress.step() != Step::Done))?;
    let help = "How long the start took until everything was served, or has taken so far.";
    page.seconds("nsq_recovery_seconds", help, progress.took())?;
    let (done, all) = progress.bytes();
    page.gauge("nsq_recovery_done_bytes", "How much of these files has been read.", done)?;
    page.gauge("nsq_recovery_bytes", "How much they are.", all)?;
    write_process(page)
}

fn write_process(page: &mut Exposition) -> Result<()> {
    let Some(process) = Process::read() else { return Ok(()) };
    let kind = MetricType::COUNTER;
    let seconds = vec![metric(kind, &[], process.cpu_seconds)];
    page.family(kind, "process_cpu_seconds_total", "Processor time that was used.", seconds)?;
    page.gauge("process_resident_memory_bytes", "Memory in use.", process.resident_bytes)?;
    page.gauge("process_virtual_memory_bytes", "Address space in use.", process.virtual_bytes)?;
    page.gauge("process_threads", "Threads.", process.threads)?;
    page.gauge("process_open_fds", "Descriptors that are open.", process.open_fds)?;
    page.gauge("process_max_fds", "Descriptors that may be open.", process.max_fds)
}

fn write_data_path(page: &mut Exposition, data_path: &Path) -> Result<()> {
    // What cannot be told is left out: that the data path is not well is told elsewhere.
    if let Ok(Space { free_bytes, size_bytes }) = Space::of(data_path) {
        page.gauge("nsq_data_path_free_bytes", "Room on the disk of the data path.", free_bytes)?;
        page.gauge("nsq_data_path_size_bytes", "Size of the disk of the data path.", size_bytes)?;
    }
    let Ok(files) = FolderUse::read(data_path) else { return Ok(()) };
    let kind = MetricType::GAUGE;
    let rows = |value: fn((u64, u64)) -> u64| {
        let row = |(kind_of, sizes): (&'static str, (u64, u64))| {
            metric(kind, &[("kind", kind_of)], f64_of(value(sizes)))
        };
        files.kinds().map(row).collect()
    };
    let help = "Files of messages on the disk; bad ones made no sense and were set aside.";
    page.family(kind, "nsq_disk_queue_files", help, rows(|(files, _)| files))?;
    page.family(kind, "nsq_disk_queue_bytes", "Their sizes.", rows(|(_, bytes)| bytes))
}

/// What the kernel counts.
struct Process {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_fds: u64,
    max_fds: u64,
}

impl Process {
    /// `None` where `/proc` is not to be read.
    fn read() -> Option<Process> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // Numbered from 1 in the kernel's documentation, of which the first two are gone.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        // SAFETY: sysconf only reads; it returns -1 for what it does not know.
        let (ticks, page) =
            unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        let (ticks, page) = (u64::try_from(ticks).ok()?, u64::try_from(page).ok()?);
        let mut limit = MaybeUninit::<libc::rlimit>::uninit();
        // SAFETY: the call fills the value when it returns 0.
        let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) } != 0;
        if failed {
            return None;
        }
        // SAFETY: the call returned 0.
        let max_fds = unsafe { limit.assume_init() }.rlim_cur;
        Some(Process {
            cpu_seconds: f64_of(field(14)? + field(15)?) / f64_of(ticks.max(1)),
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            max_fds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn the_kernel_tells_of_the_process() {
        let process = Process::read().unwrap();
        assert!(process.threads >= 1 && process.open_fds >= 3, "{}", process.threads);
        assert!((1 << 20..1 << 40).contains(&process.resident_bytes), "{}", process.resident_bytes);
        assert!(process.max_fds >= process.open_fds && process.cpu_seconds < 1e6);
    }
}
