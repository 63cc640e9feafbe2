//! The options of the program.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::broker::{Cores, Durability};

/// Measures what a message costs a broker, beside the original and the floor.
#[derive(Parser)]
#[command(name = "perf", version)]
pub struct Options {
    /// Something else than a comparison.
    #[command(subcommand)]
    pub other: Option<Other>,
    /// A comparison.
    #[command(flatten)]
    pub bench: Bench,
}

/// What the program does besides measuring.
#[derive(Subcommand)]
pub enum Other {
    /// Say of two results which is the faster one, row by row.
    Compare(CompareArgs),
    /// Print the tables of a result again.
    Show(ShowArgs),
    /// Serve as the floor until ended.
    Floor(FloorArgs),
}

/// Options of a comparison of results.
#[derive(Args)]
pub struct CompareArgs {
    /// The result before: FILE, or FILE@RUN with a commit or the number of a run in that file,
    /// counted from 1, or from the end with -1.
    pub before: String,
    /// The result after.
    pub after: String,
    /// Take costs as they are, not as multiples of the floor's in the same round.
    #[arg(long)]
    pub raw: bool,
}

/// Options of a table.
#[derive(Args)]
pub struct ShowArgs {
    /// FILE, or FILE@RUN as for `compare`.
    pub result: String,
}

/// Options of the floor.
#[derive(Args)]
pub struct FloorArgs {
    /// Where to speak NSQ's protocol.
    #[arg(long)]
    pub tcp_address: SocketAddr,
    /// Where to speak HTTP.
    #[arg(long)]
    pub http_address: SocketAddr,
    /// Lose one message of so many, to see that a check notices.
    #[arg(long)]
    pub lose_every: Option<u64>,
    /// Deliver one message of so many twice, to see that a check notices.
    #[arg(long)]
    pub repeat_every: Option<u64>,
}

/// Options of a comparison.
#[derive(Args)]
pub struct Bench {
    /// Shoal's program.
    #[arg(long, default_value = "target/release/shoal")]
    pub shoal: PathBuf,
    /// Leave Shoal out.
    #[arg(long)]
    pub without_shoal: bool,
    /// Measure Shoal with each of these promises, in turn within each round; the default is the
    /// broker's own. Rows that are about one promise keep theirs.
    #[arg(long, value_delimiter = ',')]
    pub durability: Vec<Durability>,
    /// One more argument for Shoal; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub shoal_arg: Vec<OsString>,
    /// An original nsqd to compare with.
    #[arg(long)]
    pub peer: Option<PathBuf>,
    /// Messages that the original may hold in memory: enough that none goes to disk.
    #[arg(long, default_value_t = 4_000_000)]
    pub peer_mem_queue_size: u64,
    /// Measure the floor, too; --floor=false leaves it out.
    #[arg(long, default_value_t = true, action = ArgAction::Set, require_equals = true,
          num_args = 0..=1, default_missing_value = "true")]
    pub floor: bool,
    /// Rounds; the brokers take turns in each.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Only these rows, by name.
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<String>,
    /// List the rows.
    #[arg(long)]
    pub list: bool,
    /// Seconds that are counted in each measurement.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Seconds before them.
    #[arg(long, default_value_t = 0.3)]
    pub warmup: f64,
    /// Messages of the rows that overflow memory.
    #[arg(long, default_value_t = 2_000_000)]
    pub messages: u64,
    /// MiB of memory that is touched beforehand and makes way for the broker as it grows, so that
    /// it does not pay for what the hypervisor has taken back; 0 for none. The default is 6 GiB,
    /// or a third of the available memory if that is less.
    #[arg(long, value_name = "MIB")]
    pub warm_memory: Option<u64>,
    /// The broker's core.
    #[arg(long, default_value_t = 0)]
    pub broker_core: usize,
    /// The driver's core.
    #[arg(long, default_value_t = 1)]
    pub driver_core: usize,
    /// Folder for the brokers' data, on a disk if disks are to be measured; the default is the
    /// system's folder for temporary files.
    #[arg(long)]
    pub data_root: Option<PathBuf>,
    /// Folder for the results.
    #[arg(long, default_value = "perf/results")]
    pub results: PathBuf,
    /// Write no result file.
    #[arg(long)]
    pub no_results: bool,
}

impl Bench {
    /// Where the brokers' data is.
    pub fn data_root(&self) -> PathBuf {
        self.data_root.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The cores that the two sides run on.
    pub fn cores(&self) -> Cores {
        Cores { broker: self.broker_core, driver: self.driver_core }
    }
}
