//! What brokers keep and write, in the rows that are about that.

use loadtest::cpu::Memory;

use super::cells::{line, median, whole};
use super::{measured, name, spread};
use crate::rows::Row;
use crate::sample::Sample;

const MIB: f64 = 1024.0 * 1024.0;

/// The table, if there are such rows.
pub fn render(text: &mut String, rows: &[Row], samples: &[Sample]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.is_about_storage()).collect();
    if rows.is_empty() {
        return;
    }
    text.push_str(
        "\nResident memory, CPU time at rest, and bytes for one message: written to storage \
         (`write_bytes`), written with system calls to files and sockets (`wchar`, without \
         io_uring), and taken by logs or queues at the end.\n\n",
    );
    text.push_str(
        "| work | broker | highest MiB | MiB at the end or at rest | % of a core at rest \
         | B to storage | B by system calls | B of logs | MiB of journals |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        for who in measured(row, samples) {
            let of = |value: fn(&Sample) -> f64| spread(row, samples, who, value);
            let cells = [
                row.title.to_owned(),
                name(who),
                whole(of(rss_max_mib)),
                whole(of(rss_mib)),
                median(of(|sample| sample.rest.map_or(f64::NAN, |rest| rest.cpu_share * 100.0))),
                median(of(write_bytes)),
                median(of(wchar)),
                median(of(|sample| sample.disk.log_bytes as f64 / messages(sample))),
                whole(of(|sample| sample.disk.journal_bytes as f64 / MIB)),
            ];
            line(text, &cells);
        }
    }
}

fn messages(sample: &Sample) -> f64 {
    sample.report.messages.max(1) as f64
}

fn rss_max_mib(sample: &Sample) -> f64 {
    memory(sample).map_or(f64::NAN, |memory| memory.rss_max_bytes as f64 / MIB)
}

fn rss_mib(sample: &Sample) -> f64 {
    memory(sample).map_or(f64::NAN, |memory| memory.rss_bytes as f64 / MIB)
}

/// At rest, if the row waited for that.
fn memory(sample: &Sample) -> Option<Memory> {
    sample.rest.map(|rest| rest.memory).or(sample.report.broker_memory)
}

fn write_bytes(sample: &Sample) -> f64 {
    sample.report.broker_io.map_or(f64::NAN, |io| io.write_bytes as f64 / messages(sample))
}

fn wchar(sample: &Sample) -> f64 {
    sample.report.broker_io.map_or(f64::NAN, |io| io.wchar as f64 / messages(sample))
}
