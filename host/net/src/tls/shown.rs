//! What a client showed of itself in its handshake, and which options that is enough for.
//!
//! **Invariant:** options that ask clients who they are let nobody pass without that, however long
//! ago the connection began, and whatever was asked then.

use std::{cell::RefCell, sync::Arc};

use rustls_pki_types::CertificateDer;

use super::options::Options;

/// The certificate of a client that was asked for one.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Empty: it showed none.
    chain: Vec<CertificateDer<'static>>,
    /// The options that it was found good for, those of the handshake first.
    good_for: RefCell<Vec<Arc<Options>>>,
}

/// Options change seldom: more than this are old ones.
const MOST: usize = 8;

impl Shown {
    /// What was shown in a handshake with these options; `None`: nobody asked.
    pub(super) fn new(
        options: &Arc<Options>,
        chain: Option<&[CertificateDer<'static>]>,
    ) -> Option<Box<Self>> {
        let chain = chain.unwrap_or_default().to_vec();
        let good_for = RefCell::new(vec![options.clone()]);
        options.asks_clients().then(|| Box::new(Self { chain, good_for }))
    }

    /// Whether it is enough for these options too. What was found out is kept.
    fn is_good_for(&self, options: &Arc<Options>) -> bool {
        if self.good_for.borrow().iter().any(|known| Arc::ptr_eq(known, options)) {
            return true;
        }
        let is_good = options.accepts(&self.chain);
        if is_good {
            let mut known = self.good_for.borrow_mut();
            if known.len() == MOST {
                known.remove(0);
            }
            known.push(options.clone());
        }
        is_good
    }
}

/// Whether a connection may carry requests that want these options.
pub(super) fn is_enough(shown: Option<&Shown>, options: &Arc<Options>) -> bool {
    match shown {
        _ if !options.asks_clients() => true,
        Some(shown) => shown.is_good_for(options),
        None => options.accepts(&[]),
    }
}
