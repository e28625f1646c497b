//! The last known state of each provider, kept in `data-dir` so that a restart while the source is
//! away begins where it ended.
//!
//! **Invariant:** a file is replaced whole or not at all, and one that cannot be read is as good
//! as none. Files say what they came from, so a provider that now points elsewhere never begins
//! with another's state; and a state that could not be written is written when there is room.

use std::{
    error::Error,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::{
    catalog::Source,
    item::{Canary, Declaration, Edge, Fragment, Health, Instance, Item, Node},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task,
};

use super::event::Event;

/// Changes when what is written changes: an older file is then as good as none.
const FORMAT: u32 = 2;
/// A burst of changes is written once.
const SETTLE: Duration = Duration::from_millis(500);

/// What was kept of a provider.
#[derive(Debug)]
pub(super) struct Kept {
    /// When it was written.
    pub(super) saved: SystemTime,
    /// Everything that the provider had.
    pub(super) items: Vec<Item>,
}

/// How long until a state that could not be written is tried again, if nothing changes before.
const AGAIN: Duration = Duration::from_secs(30);

/// A state, and what the provider pointed at when it reported that.
type Latest = Option<(String, Arc<Source>)>;

/// Writes a provider's state whenever it changes, off the control loop.
#[derive(Debug)]
pub(super) struct Keeper {
    latest: watch::Sender<Latest>,
    task: task::JoinHandle<()>,
}

impl Keeper {
    /// Keeps the state of a provider in `folder`.
    pub(super) fn start(folder: &Path, provider: Arc<str>, events: mpsc::Sender<Event>) -> Self {
        let path = path(folder, &provider);
        let (latest, mut changes) = watch::channel::<Latest>(None);
        let task = task::spawn(async move {
            let mut known = None;
            // Ends when the sender is dropped, after what it sent last was written.
            while is_due(&mut changes, matches!(known, Some(Err(_)))).await {
                tokio::select! {
                    () = tokio::time::sleep(SETTLE) => (),
                    // Closing while we settle: write at once.
                    () = closed(&mut changes) => (),
                }
                let Some((identity, source)) = changes.borrow_and_update().clone() else {
                    continue;
                };
                let place = path.clone();
                let written = task::spawn_blocking(move || write(&place, &identity, &source)).await;
                let outcome = written.unwrap_or_else(|error| Err(io::Error::other(error)));
                let outcome = outcome.map_err(|error| format!("{}: {error}", path.display()));
                if known.as_ref() == Some(&outcome) {
                    continue;
                }
                if let Err(reason) = &outcome {
                    tracing::warn!(%provider, %reason, "state not kept");
                }
                // Never waited for: at the end nobody takes events any more, but waits for us.
                let told = Event::Kept { provider: provider.clone(), outcome: outcome.clone() };
                if events.try_send(told).is_ok() {
                    known = Some(outcome);
                }
            }
        });
        Self { latest, task }
    }

    /// This is the state now. `identity` says what the provider points at.
    pub(super) fn keep(&self, identity: String, source: Arc<Source>) {
        self.latest.send_replace(Some((identity, source)));
    }

    /// Writes what is not written yet.
    pub(super) async fn finish(self) {
        drop(self.latest);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "state not kept");
        }
    }
}

/// Waits for something to write: a change, or another attempt where the last one failed. Answers false
/// when the sender is gone and there is no change left.
async fn is_due(changes: &mut watch::Receiver<Latest>, has_failed: bool) -> bool {
    tokio::select! {
        changed = changes.changed() => changed.is_ok(),
        () = tokio::time::sleep(AGAIN), if has_failed => true,
    }
}

/// Returns when the sender is gone.
async fn closed(changes: &mut watch::Receiver<Latest>) {
    while changes.changed().await.is_ok() {}
}

/// Reads what was kept of a provider that points at the same source, if there is any.
pub(super) fn read(folder: &Path, provider: &str, identity: &str) -> Result<Option<Kept>, String> {
    let path = path(folder, provider);
    let unreadable = |error: &dyn Error| format!("{}: {error}", path.display());
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    if file.format != FORMAT || file.identity != identity {
        return Ok(None);
    }
    Ok(Some(Kept {
        saved: SystemTime::UNIX_EPOCH + Duration::from_millis(file.saved),
        items: file.items.into_iter().map(Item::from).collect(),
    }))
}

/// Provider names are table keys: anything may stand in them, a file name may hold less.
fn path(folder: &Path, provider: &str) -> PathBuf {
    let safe: String = provider
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(64)
        .collect();
    let digest = blake3::hash(provider.as_bytes()).to_hex();
    folder.join(format!("{safe}-{}.json", &digest.as_str().get(..8).unwrap_or_default()))
}

fn write(path: &Path, identity: &str, source: &Source) -> io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let file = File {
        format: FORMAT,
        saved: now.as_millis().try_into().unwrap_or(u64::MAX),
        identity: identity.to_owned(),
        items: source.items().iter().map(KeptItem::from).collect(),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("json.tmp");
    let written =
        fs::write(&draft, serde_json::to_vec(&file)?).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Half of it would only take the room that is missing. If it was never made, all the better.
        drop(fs::remove_file(&draft));
    }
    written
}

/// The file as it is written.
#[derive(Deserialize, Serialize)]
struct File {
    format: u32,
    /// Unix milliseconds.
    saved: u64,
    identity: String,
    items: Vec<KeptItem>,
}

/// Core types are not serialised: the file has its own shapes, so that it stays readable when
/// they change.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum KeptItem {
    Node(KeptNode),
    Instance(Box<KeptInstance>),
    Fragment { origin: String, config: Value },
}

#[derive(Deserialize, Serialize)]
struct KeptNode {
    name: String,
    address: String,
    #[serde(default, rename = "also-at", skip_serializing_if = "Vec::is_empty")]
    also_at: Vec<IpAddr>,
    datacenter: String,
    meta: Vec<(String, String)>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct KeptInstance {
    id: String,
    service: String,
    node: String,
    datacenter: String,
    address: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also_at: Vec<IpAddr>,
    port: u16,
    weights: (u32, u32),
    health: String,
    /// `none`, or how it is taken to be; absent: as its health says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edge: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edge_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<KeptCanary>,
    tags: Vec<String>,
    meta: Vec<(String, String)>,
    version: u64,
    /// Path, value, origin.
    declares: Vec<(String, String, String)>,
}

#[derive(Deserialize, Serialize)]
struct KeptCanary {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
}

impl From<&Item> for KeptItem {
    fn from(item: &Item) -> Self {
        match item {
            Item::Node(node) => Self::Node(KeptNode {
                name: node.name.clone(),
                address: node.address.clone(),
                also_at: node.also_at.clone(),
                datacenter: node.datacenter.clone(),
                meta: node.meta.clone(),
            }),
            Item::Instance(instance) => Self::Instance(Box::new(KeptInstance::from(&**instance))),
            Item::Fragment(fragment) => {
                Self::Fragment { origin: fragment.origin.clone(), config: fragment.config.clone() }
            }
        }
    }
}

impl From<&Instance> for KeptInstance {
    fn from(instance: &Instance) -> Self {
        let Instance { id, service, node, datacenter, address, also_at, port, .. } =
            instance.clone();
        let declares = instance.declares.iter();
        Self {
            id,
            service,
            node,
            datacenter,
            address,
            also_at,
            port,
            weights: (instance.weight_passing, instance.weight_warning),
            health: instance.health.as_str().to_owned(),
            edge: match instance.edge {
                Edge::AsHealth => None,
                Edge::As(health) => Some(health.as_str().to_owned()),
                Edge::Never => Some("none".to_owned()),
            },
            edge_reason: instance.edge_reason.as_deref().map(str::to_owned),
            canary: instance.canary.map(|Canary { percent }| KeptCanary { percent }),
            tags: instance.tags.clone(),
            meta: instance.meta.clone(),
            version: instance.version,
            declares: declares
                .map(|d| (d.path.clone(), d.value.clone(), d.origin.clone()))
                .collect(),
        }
    }
}

impl From<KeptItem> for Item {
    fn from(item: KeptItem) -> Self {
        match item {
            KeptItem::Node(KeptNode { name, address, also_at, datacenter, meta }) => {
                Self::Node(Arc::new(Node { name, address, also_at, datacenter, meta }))
            }
            KeptItem::Instance(instance) => Self::Instance(Arc::new((*instance).into())),
            KeptItem::Fragment { origin, config } => {
                Self::Fragment(Arc::new(Fragment { origin, config }))
            }
        }
    }
}

impl From<KeptInstance> for Instance {
    fn from(kept: KeptInstance) -> Self {
        let declares = kept.declares.into_iter();
        Self {
            id: kept.id,
            service: kept.service,
            node: kept.node,
            datacenter: kept.datacenter,
            address: kept.address,
            also_at: kept.also_at,
            port: kept.port,
            weight_passing: kept.weights.0,
            weight_warning: kept.weights.1,
            health: health(&kept.health),
            edge: match kept.edge.as_deref() {
                None => Edge::AsHealth,
                Some("none") => Edge::Never,
                Some(word) => Edge::As(health(word)),
            },
            edge_reason: kept.edge_reason.map(Into::into),
            canary: kept.canary.map(|KeptCanary { percent }| Canary { percent }),
            tags: kept.tags,
            meta: kept.meta,
            version: kept.version,
            declares: declares
                .map(|(path, value, origin)| Declaration { path, value, origin })
                .collect(),
        }
    }
}

fn health(word: &str) -> Health {
    match word {
        "passing" => Health::Passing,
        "warning" => Health::Warning,
        "maintenance" => Health::Maintenance,
        _ => Health::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_comes_back_as_it_was() {
        let instance = Instance {
            id: "i".to_owned(),
            service: "web".to_owned(),
            also_at: vec![[10, 0, 0, 7].into()],
            health: Health::Warning,
            edge: Edge::As(Health::Critical),
            edge_reason: Some("not wanted".into()),
            canary: Some(Canary { percent: Some(5) }),
            tags: vec!["a".to_owned()],
            version: 7,
            ..Instance::default()
        };
        for instance in [instance, Instance { edge: Edge::Never, ..Instance::default() }] {
            let item = Item::Instance(Arc::new(instance));
            let text = serde_json::to_string(&KeptItem::from(&item)).unwrap();
            assert_eq!(Item::from(serde_json::from_str::<KeptItem>(&text).unwrap()), item);
        }
    }
    #[tokio::test(start_paused = true)]
    async fn a_state_that_could_not_be_written_is_written_when_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        // A file where the folder should be.
        fs::write(&folder, "").unwrap();
        let (events, mut told) = mpsc::channel(4);
        let keeper = Keeper::start(&folder, "consul".into(), events);
        let mut outcome = async || match tokio::time::timeout(2 * AGAIN, told.recv()).await {
            Ok(Some(Event::Kept { outcome, .. })) => outcome,
            other => panic!("{other:?}"),
        };
        keeper.keep("here".to_owned(), Arc::new(Source::new("consul", "consul")));
        assert!(outcome().await.is_err());
        fs::remove_file(&folder).unwrap();
        assert_eq!(outcome().await, Ok(()));
        assert!(read(&folder, "consul", "here").unwrap().is_some());
        assert!(read(&folder, "consul", "elsewhere").unwrap().is_none());
    }

    #[test]
    fn half_of_a_state_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("consul.json");
        // Nothing can take its place.
        fs::create_dir(&place).unwrap();
        assert!(write(&place, "here", &Source::new("consul", "consul")).is_err());
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.collect::<Vec<_>>(), [place]);
    }
}
