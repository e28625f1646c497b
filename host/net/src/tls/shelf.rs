//! Certificates by name.
//!
//! **Invariant:** of those that are good now and that the client can check, an exact name comes
//! before a wildcard, and of two for one name the one that lives longer is shown. Only when there
//! is none, one that is not.

use std::{sync::Arc, time::SystemTime};

use hashbrown::HashMap;
use rustls::SignatureScheme;

use super::Certificate;

/// Certificates by name.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Those that live longest first.
    names: HashMap<String, Vec<Arc<Certificate>>>,
    /// For any other name.
    default: Vec<Arc<Certificate>>,
}

impl Shelf {
    /// All of these.
    pub(super) fn build<'a>(all: impl IntoIterator<Item = &'a Arc<Certificate>>) -> Self {
        let mut shelf: HashMap<String, Vec<Arc<Certificate>>> = HashMap::new();
        for certificate in all {
            for name in &certificate.names {
                let place = shelf.entry(name.clone()).or_default();
                if !place.iter().any(|known| Arc::ptr_eq(known, certificate)) {
                    place.push(certificate.clone());
                }
            }
        }
        for place in shelf.values_mut() {
            place.sort_by_key(|certificate| std::cmp::Reverse(certificate.facts.not_after));
        }
        Self { names: shelf, default: Vec::new() }
    }

    /// With what is shown for names that no certificate is for.
    pub(super) fn with_default<'a>(
        self,
        default: impl IntoIterator<Item = &'a Arc<Certificate>>,
    ) -> Self {
        Self { default: default.into_iter().cloned().collect(), ..self }
    }

    /// The certificate for names that none is for, if there is one.
    pub(super) fn default(&self, now: SystemTime) -> Option<&Arc<Certificate>> {
        let good = self.default.iter().find(|certificate| certificate.is_good(now));
        good.or_else(|| self.default.first())
    }

    /// The certificate for a name, or for the wildcard that it falls under, for a client that can
    /// check these signatures; none: all.
    pub(super) fn find(
        &self,
        name: &str,
        wildcard: Option<&str>,
        now: SystemTime,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<Certificate>> {
        if self.names.is_empty() {
            return None;
        }
        let places = [Some(name), wildcard].map(|name| self.names.get(name?));
        let all = || places.iter().flatten().flat_map(|place| place.iter());
        let good = || all().filter(|certificate| certificate.is_good(now));
        good()
            .find(|certificate| certificate.suits(schemes))
            .or_else(|| good().next())
            // A certificate whose time is over tells the client the truth; one of another name or
            // of an authority that it does not know would hide it.
            .or_else(|| all().next())
    }

    /// Whether a client that asks for a name is shown a good certificate.
    pub(super) fn covers(&self, name: &str, now: SystemTime) -> bool {
        let wildcard = wildcard(name);
        self.find(name, wildcard.as_deref(), now, &[]).is_some_and(|it| it.is_good(now))
    }
}

/// The wildcard that a name falls under: `*.example.com` for `www.example.com`.
pub(super) fn wildcard(name: &str) -> Option<String> {
    name.split_once('.').map(|(_, rest)| format!("*.{rest}"))
}
