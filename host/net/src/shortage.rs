//! Errors that tell of this machine and nothing of the other side: it has no file descriptors left, or no
//! memory.
//!
//! **Invariant:** no backend is thought ill of because of one. `EADDRNOTAVAIL` is none of them: it is also what
//! an address is answered that nobody can reach from here.

use std::io;

use nix::errno::Errno;

/// Whether an error is one of those.
pub fn is_ours(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}
