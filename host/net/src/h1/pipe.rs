//! A pipe of the system: large bodies go from one connection to the other through it, without
//! having been in our memory (splice(2)).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};

/// How much a pipe should hold. The system may give less, which costs more calls.
const SIZE: i32 = 256 * 1024;

/// A pipe, and how much it holds.
#[derive(Debug)]
pub(super) struct Pipe {
    outlet: OwnedFd,
    inlet: OwnedFd,
    held: usize,
}

impl Pipe {
    pub(super) fn open() -> io::Result<Self> {
        let (outlet, inlet) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // Who has many pipes gets small ones.
        if let Err(error) = fcntl(&inlet, FcntlArg::F_SETPIPE_SZ(SIZE)) {
            tracing::debug!(%error, "a pipe stays small");
        }
        Ok(Self { outlet, inlet, held: 0 })
    }

    /// How many bytes are in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes in what has arrived, so much at most; 0: the other end has closed. It must be empty,
    /// so that to wait means to wait for the other end.
    pub(super) fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        let taken = splice(from, None, &self.inlet, None, most.min(SIZE as usize), flags)?;
        self.held = taken;
        Ok(taken)
    }

    /// Gives out as much as the other end takes now.
    pub(super) fn drain(&mut self, to: impl AsFd, is_more_to_come: bool) -> io::Result<()> {
        let mut flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        flags.set(SpliceFFlags::SPLICE_F_MORE, is_more_to_come);
        match splice(&self.outlet, None, to, None, self.held, flags)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            given => {
                self.held = self.held.saturating_sub(given);
                Ok(())
            }
        }
    }
}
