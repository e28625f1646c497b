//! Compiles plugins in processes of their own: what a compiler needs is some hundred megabytes, and
//! they are given back when it ends.
//!
//! Such a process is this very program with the hidden command `compile-plugin`. The component goes
//! in by its standard input; machine code, or the reason why there is none, comes out by its
//! standard output.
//!
//! **Invariant:** whatever becomes of such a process costs one plugin. Few run at once, each for a
//! limited time, and none goes on after [`Processes::stop`] or the end of this process.

mod child;

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use portolan_wasm::{Cause, Compiler, MachineCode};
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    runtime::Handle,
    sync::{Semaphore, watch},
};

pub(crate) use child::run;

/// The command that is given to such a process.
pub(crate) const COMMAND: &str = "compile-plugin";

/// The exit code of one that says why it has nothing to give.
const REFUSED: u8 = 3;

/// A compiler keeps every core busy by itself.
const AT_ONCE: usize = 2;

/// How long one may take: far longer than any needs, on a slow machine under load.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_PER_MEGABYTE: Duration = Duration::from_secs(10);

/// Compiles in processes of their own. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    args: Vec<String>,
    patience: Duration,
    turns: Semaphore,
    stopped: watch::Sender<bool>,
}

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no process to compile in")]
    NoProcess(#[source] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the compiler crashed: {0}")]
    Crashed(String),
    #[error("the compiler takes longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("Portolan is ending")]
    Stopped,
}

impl Processes {
    /// Compiles in processes of this program.
    pub(crate) fn new() -> Self {
        Self::of(this_program(), &[COMMAND], PATIENCE)
    }

    fn of(program: PathBuf, args: &[&str], patience: Duration) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let (turns, stopped) = (Semaphore::new(AT_ONCE), watch::Sender::new(false));
        Self(Arc::new(Inner { program, args, patience, turns, stopped }))
    }

    /// Ends those that run, and starts no more.
    pub(crate) fn stop(&self) {
        self.0.stopped.send_replace(true);
    }
}

/// The program that runs, even after a newer one has taken its place on disk.
fn this_program() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    // What cannot be found cannot be started: then it is compiled here.
    std::env::current_exe().unwrap_or_default()
}

impl Compiler for Processes {
    /// To be called on a thread that may block, of a runtime that goes on meanwhile.
    fn compile(&self, component: &[u8]) -> Result<MachineCode, Cause> {
        let compiled = match Handle::try_current() {
            Ok(runtime) => runtime.block_on(self.0.compile(component)),
            Err(error) => Err(Failure::NoProcess(io::Error::other(error))),
        };
        match compiled {
            Err(Failure::NoProcess(error)) => {
                tracing::warn!(%error, "no process to compile a plugin in: it is done in this one");
                portolan_wasm::compile(component)
            }
            compiled => compiled.map_err(|failure| failure.to_string().into()),
        }
    }
}

impl Inner {
    async fn compile(&self, component: &[u8]) -> Result<MachineCode, Failure> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(Failure::Stopped),
            compiled = self.in_turn(component) => compiled,
        }
    }

    async fn in_turn(&self, component: &[u8]) -> Result<MachineCode, Failure> {
        let _turn = self.turns.acquire().await.map_err(|_closed| Failure::Stopped)?;
        let megabytes = u32::try_from(component.len() >> 20).unwrap_or(u32::MAX);
        let limit = self.patience + PATIENCE_PER_MEGABYTE * megabytes;
        let output = tokio::time::timeout(limit, self.process(component)).await;
        understood(output.map_err(|_elapsed| Failure::Timeout(limit))??)
    }

    /// Runs one process to its end.
    async fn process(&self, component: &[u8]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(Failure::NoProcess)?;
        let input = process.stdin.take();
        let feed = async {
            let Some(mut input) = input else { return };
            // One that does not read to the end has ended, and its end says more.
            drop(input.write_all(component).await);
        };
        let ((), output) = tokio::join!(feed, process.wait_with_output());
        output.map_err(|error| Failure::Crashed(error.to_string()))
    }
}

/// What a process that has ended gave.
#[expect(unsafe_code, reason = "loading machine code is what compiling is for")]
fn understood(output: Output) -> Result<MachineCode, Failure> {
    let Output { status, stdout, stderr } = output;
    if status.success() {
        // SAFETY: this same program made it of what we gave it, and wrote it into a pipe that
        // nobody else holds.
        return Ok(unsafe { MachineCode::trusted(stdout) });
    }
    if status.code() == Some(REFUSED.into()) {
        return Err(Failure::Refused(String::from_utf8_lossy(&stdout).into_owned()));
    }
    let end = match status.signal() {
        Some(signal) => format!("it was ended by signal {signal}"),
        None => status.to_string(),
    };
    let said = String::from_utf8_lossy(&stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let last = last.map(|last| format!(", after it said `{last}`")).unwrap_or_default();
    Err(Failure::Crashed(format!("{end}{last}")))
}

#[cfg(test)]
mod tests;
