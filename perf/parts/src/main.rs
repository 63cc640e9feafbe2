//! What the guard runs under valgrind: every row warm, then so many batches, then twice as many.
//!
//! `parts BATCHES` prints what decides the counts besides the code, then each row's name and the
//! messages of one batch, in the order in which they are counted.

use std::ffi::CStr;
use std::hint::black_box;
use std::process::ExitCode;

use parts::rows::{ROWS, Script};

fn main() -> ExitCode {
    let batches = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok());
    let Some(batches) = batches else {
        eprintln!("usage: parts BATCHES");
        return ExitCode::FAILURE;
    };
    println!("{} {} {}", std::env::consts::ARCH, c_library(), vectors());
    for row in &ROWS {
        let mut script = (row.script)();
        script.prepare(2 * batches);
        script.run(2 * batches);
        for times in 1..=2 {
            script.prepare(times * batches);
            parts_counted(script.as_mut(), times * batches);
        }
        println!("{} {}", row.name, row.messages);
    }
    ExitCode::SUCCESS
}

/// Valgrind knows it by this name: it counts what happens in here, for each call by itself.
#[unsafe(no_mangle)]
#[inline(never)]
fn parts_counted(script: &mut dyn Script, batches: usize) {
    black_box(script).run(black_box(batches));
}

fn c_library() -> String {
    // SAFETY: it has no preconditions and returns a string that is never freed.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    format!("glibc-{}", version.to_string_lossy())
}

/// The C library copies in wider steps where it can.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    "no-avx2"
}
