//! nsqd from its options to its exit code.

use std::process::ExitCode;

use crate::config::nsqd::NsqdOptions;
use crate::config::version;
use crate::log;

use super::startup;

/// Runs nsqd until it is told to stop.
pub fn run(options: NsqdOptions) -> ExitCode {
    let _log = match log::start(&options.log_prefix, options.log_level) {
        Ok(guard) => guard,
        Err(error) => return log::fatal("nsqd", &format!("cannot start the log: {error}")),
    };
    tracing::info!("{}", version::daemon_line("nsqd"));
    tracing::info!("ID: {}", options.node_id);
    let prepared = match startup::prepare(&options) {
        Ok(prepared) => prepared,
        Err(problem) => {
            return log::fatal("nsqd", &format!("failed to instantiate nsqd - {problem}"));
        }
    };
    for line in prepared.plan_lines() {
        tracing::info!("{line}");
    }
    for warning in options.settings.warnings.iter().chain(&prepared.warnings) {
        tracing::warn!("{warning}");
    }
    ExitCode::SUCCESS
}
