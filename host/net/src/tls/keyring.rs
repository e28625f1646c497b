//! Everything that handshakes need, as the control plane sees it: it is told what is wanted, reads
//! it, and hands it to the entrypoints.
//!
//! **Invariant:** what was good goes on until what takes its place is good.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use hashbrown::HashMap;
use portolan_core::{live::Live, problem::Problem, snapshot::Snapshot};
use tokio::sync::Notify;

use super::{
    Authority, Broken, Certificate, CertificateFile, DEFAULT_OPTIONS, TlsConfig, TlsContext,
    TlsError, TlsOptions, TlsSettings,
    acme::wants,
    challenge::Challenges,
    file::Files,
    options::Options,
    shelf::Shelf,
    trouble::{self, Situation},
    watch::Marks,
};

/// Everything that handshakes need.
#[derive(Debug)]
pub struct Keyring {
    directory: Option<PathBuf>,
    live: Live,
    challenges: Arc<Challenges>,
    /// Told when there is something for the [steward](super::tend) to look at.
    changed: Notify,
    /// Somebody wants failed orders to be tried again now.
    impatient: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    settings: Arc<TlsSettings>,
    entrypoints: Vec<(Arc<str>, TlsConfig)>,
    /// Of entrypoints that are open or closing.
    contexts: Vec<Weak<TlsContext>>,
    authority: Option<Arc<Authority>>,
    /// Why the authority is one that will be forgotten.
    authority_error: Option<TlsError>,
    marks: Marks,
    files: Files,
    broken: Vec<Broken>,
    options: HashMap<Arc<str>, Arc<Options>>,
    refused: Vec<Refused>,
    /// What authorities gave us.
    ordered: Vec<Arc<Certificate>>,
}

/// Options that are not in working order.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) name: Arc<str>,
    pub(super) error: TlsError,
    /// Whether those before go on.
    pub(super) kept: bool,
}

impl Keyring {
    /// Nothing yet. `directory` is where the local authority is, or will be; `None`: it is
    /// forgotten at the end.
    pub fn new(directory: Option<PathBuf>, live: Live) -> Self {
        let (challenges, changed, impatient, state) = Default::default();
        Self { directory, live, challenges, changed, impatient, state }
    }

    /// What would be wrong with all this, if it were served: nothing is ordered, and nothing kept.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses.
    pub fn preview(
        settings: TlsSettings,
        entrypoints: Vec<(Arc<str>, TlsConfig)>,
        live: Live,
    ) -> Result<Vec<Problem>, TlsError> {
        let keyring = Self::new(None, live);
        keyring.configure(settings);
        let open = entrypoints.iter().map(|(name, _)| keyring.context(name));
        // Held while problems are looked for: routers are known by them.
        let _open = open.collect::<Result<Vec<_>, _>>()?;
        keyring.serve(entrypoints);
        let (settings, entrypoints) = (keyring.settings(), keyring.entrypoints());
        let files = keyring.of_files();
        let (_, unmet) = wants(&keyring.snapshot(), &settings, &entrypoints, &files);
        Ok(keyring.problems().into_iter().chain(unmet).collect())
    }

    /// From now on this holds for all entrypoints. Files are read anew.
    pub fn configure(&self, settings: TlsSettings) {
        let mut state = self.state();
        if *state.settings != settings {
            state.settings = Arc::new(settings);
        }
        state.refresh();
        drop(state);
        self.wake();
    }

    /// Orders that failed are tried again now, and not when their pause is over.
    pub fn retry(&self) {
        self.impatient.store(true, Relaxed);
        self.wake();
    }

    /// A new snapshot is served: its routers may want other certificates.
    pub fn published(&self) {
        self.wake();
    }

    /// The local authority, if an entrypoint needed it already.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.state().authority.clone()
    }

    /// Every certificate that there is, in any order.
    pub fn certificates(&self) -> Vec<Arc<Certificate>> {
        let state = self.state();
        let made = state.authority.iter().flat_map(|authority| authority.leaves());
        let known = state.files.all().chain(&state.ordered).cloned();
        known.chain(made).collect()
    }

    /// What is wrong with certificates and options now.
    pub fn problems(&self) -> Vec<Problem> {
        let state = self.state();
        let contexts: Vec<_> = state.contexts.iter().filter_map(Weak::upgrade).collect();
        let now = SystemTime::now();
        trouble::problems(&Situation {
            now,
            root_flaw: state.authority.as_ref().and_then(|authority| authority.flaw(now)),
            settings: &state.settings,
            entrypoints: &state.entrypoints,
            contexts: &contexts,
            authority_error: state.authority_error.as_ref(),
            directory: state.authority.as_ref().and(self.directory.as_deref()),
            broken: &state.broken,
            refused: &state.refused,
            certificates: state.files.all().chain(&state.ordered).cloned().collect(),
        })
    }

    /// The files that cannot be used as they are now.
    pub fn with_broken<T>(&self, look: impl FnOnce(&[Broken]) -> T) -> T {
        look(&self.state().broken)
    }

    /// What answers the handshakes of an entrypoint, if it is open and encrypted.
    pub fn of(&self, entrypoint: &str) -> Option<Arc<TlsContext>> {
        // The newest: one that closes may be there still.
        let state = self.state();
        let mut open = state.contexts.iter().rev().filter_map(Weak::upgrade);
        open.find(|context| **context.chooser.entrypoint() == *entrypoint)
    }

    /// What answers the questions of certificate authorities.
    pub(crate) fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// These entrypoints are encrypted, and no others. Files are read anew.
    pub(crate) fn serve(&self, entrypoints: Vec<(Arc<str>, TlsConfig)>) {
        let mut state = self.state();
        state.entrypoints = entrypoints;
        state.refresh();
        drop(state);
        self.wake();
    }

    /// What a new entrypoint answers handshakes with, once it is [served](Self::serve).
    pub(crate) fn context(&self, entrypoint: &Arc<str>) -> Result<Arc<TlsContext>, TlsError> {
        self.open(entrypoint, None)
    }

    /// What a listener that is no entrypoint answers handshakes with: the certificates and options
    /// that hold for all entrypoints. `protocols` is what is spoken behind the handshake (ALPN).
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses.
    pub fn beside(&self, name: &str, protocols: &[&str]) -> Result<Arc<TlsContext>, TlsError> {
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec());
        let context = self.open(&name.into(), Some(protocols.collect()))?;
        self.state().hand_out();
        Ok(context)
    }

    fn open(
        &self,
        name: &Arc<str>,
        protocols: Option<Vec<Vec<u8>>>,
    ) -> Result<Arc<TlsContext>, TlsError> {
        let mut state = self.state();
        let authority = match &state.authority {
            Some(authority) => authority.clone(),
            None => {
                let opened = self.directory.as_deref().map(Authority::open).transpose();
                let opened = opened.unwrap_or_else(|error| {
                    // Better a certificate that nobody trusts than no entrypoint.
                    state.authority_error = Some(error);
                    None
                });
                let authority = opened.map_or_else(Authority::ephemeral, Ok)?;
                state.authority.insert(Arc::new(authority)).clone()
            }
        };
        let (challenges, live) = (self.challenges.clone(), self.live.clone());
        let context = TlsContext::new(name.clone(), authority, challenges, live, protocols);
        let context = Arc::new(context);
        state.contexts.push(Arc::downgrade(&context));
        Ok(context)
    }

    /// There is something to look at.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Whether failed orders are to be tried again now. Asking answers it.
    pub(super) fn is_impatient(&self) -> bool {
        self.impatient.swap(false, Relaxed)
    }

    /// Waits until there is something to look at.
    pub(super) async fn woken(&self) {
        self.changed.notified().await;
    }

    pub(super) fn settings(&self) -> Arc<TlsSettings> {
        self.state().settings.clone()
    }

    pub(super) fn entrypoints(&self) -> Vec<(Arc<str>, TlsConfig)> {
        self.state().entrypoints.clone()
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.live.load()
    }

    /// Reads files anew if one of them is not as it was; answers the folders that they are in.
    pub(super) fn look(&self) -> std::collections::BTreeSet<PathBuf> {
        let mut state = self.state();
        if state.marks.are_stale() {
            state.refresh();
            tracing::info!("certificate files read again");
        }
        state.marks.folders()
    }

    /// The certificates from files by name, for each entrypoint in its turn.
    pub(super) fn of_files(&self) -> Vec<Shelf> {
        let state = self.state();
        let shelf = |(_, tls): &(Arc<str>, TlsConfig)| {
            let own = state.settings.files().chain(&tls.certificates);
            Shelf::build(own.flat_map(|file| state.files.of(file)))
        };
        state.entrypoints.iter().map(shelf).collect()
    }

    /// These are the certificates that authorities gave us.
    pub(super) fn take_ordered(&self, ordered: Vec<Arc<Certificate>>) {
        let mut state = self.state();
        let same = |(one, other): (&Arc<Certificate>, &Arc<Certificate>)| Arc::ptr_eq(one, other);
        if ordered.len() != state.ordered.len() || !ordered.iter().zip(&state.ordered).all(same) {
            state.ordered = ordered;
            state.hand_out();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads everything anew and hands it to the entrypoints.
    fn refresh(&mut self) {
        let own = self.entrypoints.iter().flat_map(|(_, tls)| &tls.certificates);
        let files: Vec<_> = self.settings.files().chain(own).cloned().collect();
        self.marks = Marks::of(self.paths(&files));
        self.broken = self.files.read(&files, self.settings.default.as_ref());
        self.build_options();
        self.hand_out();
    }

    fn paths(&self, files: &[CertificateFile]) -> Vec<PathBuf> {
        let auth = self.settings.options.iter().filter_map(|(_, it)| it.client_auth.as_ref());
        let authorities = auth.flat_map(|auth| auth.ca_files.iter().cloned());
        let pairs = files.iter().flat_map(|file| [file.cert.clone(), file.key.clone()]);
        pairs.chain(authorities).collect()
    }

    fn build_options(&mut self) {
        let mut before = std::mem::take(&mut self.options);
        self.refused.clear();
        let mut wanted = self.settings.options.clone();
        if !wanted.iter().any(|(name, _)| &**name == DEFAULT_OPTIONS) {
            wanted.push((DEFAULT_OPTIONS.into(), TlsOptions::default()));
        }
        for (name, spec) in wanted {
            let before = before.remove(&name);
            match Options::build(&spec, before.as_ref()) {
                Ok(options) => drop(self.options.insert(name, options)),
                Err(error) => {
                    let kept = before.is_some();
                    self.options.extend(before.map(|options| (name.clone(), options)));
                    self.refused.push(Refused { name, error, kept });
                }
            }
        }
    }

    fn hand_out(&mut self) {
        self.contexts.retain(|context| context.strong_count() > 0);
        for context in self.contexts.iter().filter_map(Weak::upgrade) {
            let entrypoint = context.chooser.entrypoint();
            let served = self.entrypoints.iter().find(|(name, _)| name == entrypoint);
            let beside = context.is_beside().then(TlsConfig::default);
            // One that closes finishes with what it has.
            let Some(tls) = served.map(|(_, tls)| tls).or(beside.as_ref()) else { continue };
            let own = self.settings.files().chain(&tls.certificates);
            let own = own.flat_map(|file| self.files.of(file));
            let default = self.settings.default.iter().flat_map(|file| self.files.of(file));
            let shelf = Shelf::build(own.chain(&self.ordered)).with_default(default);
            context.chooser.replace(shelf);
            let default = tls.options.clone().unwrap_or_else(|| DEFAULT_OPTIONS.into());
            if let Err(error) = context.equip(&default, &self.options) {
                let name = entrypoint.clone();
                self.refused.push(Refused { name, error, kept: true });
            }
        }
    }
}
