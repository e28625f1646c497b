//! What a process that compiles one plugin does: from standard input to standard output.

#[cfg(target_os = "linux")]
use std::fs;
use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use super::REFUSED;

/// Compiles the component that stands in standard input.
pub(crate) fn run() -> ExitCode {
    be_modest();
    let mut component = Vec::new();
    let compiled = match io::stdin().lock().read_to_end(&mut component) {
        Ok(_) => portolan_wasm::compile(&component).map_err(|cause| cause.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let (bytes, code) = match &compiled {
        Ok(code) => (code.as_bytes(), ExitCode::SUCCESS),
        Err(reason) => (reason.as_bytes(), ExitCode::from(REFUSED)),
    };
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => code,
        // Nobody waits for it any more.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives way to whoever serves, ends with it, and is the first to go when memory is short. None of
/// it is needed to compile, so what the system refuses is done without.
#[expect(unsafe_code, reason = "the standard library has none of these calls")]
fn be_modest() {
    let at_most = |bytes| libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    let (memory, core) = (at_most(MEMORY), at_most(0));
    // SAFETY: none of them keeps or changes what it is given, and there is no other thread yet.
    unsafe {
        libc::nice(NICE);
        libc::setrlimit(libc::RLIMIT_AS, &raw const memory);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const core);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    #[cfg(target_os = "linux")]
    drop(fs::write("/proc/self/oom_score_adj", "1000"));
}

const NICE: libc::c_int = 10;

/// Bytes of address space: an allocator reserves a gigabyte at a time, long before it is used.
const MEMORY: libc::rlim_t = 8 << 30;
