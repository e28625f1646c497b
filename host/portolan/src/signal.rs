//! Signals → what the process is to do.
//!
//! **Invariant:** once a [`Signals`] exists, none of these signals ends the process by itself.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What somebody wants of us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    /// SIGHUP: read everything again.
    Reload,
    /// SIGUSR1: open the access log again, as Traefik does.
    Reopen,
    /// The first SIGTERM or SIGINT: drain, then end.
    Terminate,
    /// Each further one: no more waiting. Nobody else is accepted; while draining, what is open ends.
    Abort,
}

/// The signals that we listen to.
pub(crate) struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    reopen: Stream,
    /// Whether the first SIGTERM or SIGINT has come.
    terminating: bool,
}

impl Signals {
    /// Starts to listen. Within a runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminating: false,
        })
    }

    /// Waits for the next wish. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => self.end(),
            _ = self.interrupt.recv() => self.end(),
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.reopen.recv() => Wish::Reopen,
        }
    }

    fn end(&mut self) -> Wish {
        if std::mem::replace(&mut self.terminating, true) { Wish::Abort } else { Wish::Terminate }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn send(signal: &str) {
        let pid = std::process::id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// One test for all: handlers belong to the process, not to the test.
    #[tokio::test]
    async fn the_second_request_to_end_is_meant_seriously() {
        let mut signals = Signals::listen().unwrap();
        for (signal, wish) in [
            ("-HUP", Wish::Reload),
            ("-USR1", Wish::Reopen),
            ("-TERM", Wish::Terminate),
            ("-HUP", Wish::Reload),
            ("-INT", Wish::Abort),
            ("-TERM", Wish::Abort),
        ] {
            send(signal);
            assert_eq!(signals.next().await, wish, "{signal}");
        }
    }
}
