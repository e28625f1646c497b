//! A socket that a worker listens on, once more: for who comes in the place of its entrypoint.
//!
//! A socket that closes resets those who come at that very moment, so it is handed on. But one on which nobody
//! accepts any more would take its part of all connections for nothing.
//!
//! **Invariant:** it is there for as long as its worker accepts, and no longer.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

/// The socket of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Spare(Arc<Mutex<Option<TcpListener>>>);

/// Has the socket go when the worker stops accepting, for whatever reason.
#[derive(Debug)]
pub(crate) struct Accepts(Spare);

impl Spare {
    pub(super) fn of(listener: &TcpListener) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Some(listener.try_clone()?)))))
    }

    /// The same socket for somebody else, if it is there.
    pub(super) fn again(&self) -> Option<TcpListener> {
        let listener = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listener.as_ref().and_then(|listener| listener.try_clone().ok())
    }

    /// Nobody comes in its place any more: that of the worker is the last, and accepts who has come until it
    /// closes.
    pub(super) fn leave(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// For whoever accepts on it.
    pub(super) fn accepts(&self) -> Accepts {
        Accepts(self.clone())
    }
}

impl Drop for Accepts {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_for_as_long_as_somebody_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let spare = Spare::of(&listener).unwrap();
        let accepts = spare.accepts();
        let again = spare.again().unwrap();
        assert_eq!(again.local_addr().unwrap(), listener.local_addr().unwrap());
        drop(accepts);
        assert!(spare.again().is_none());
    }
}
