//! The composition root: the only room that knows every other.
//!
//! Reading order: [`run`] puts a process together and sees it through; `listeners` and `names` are
//! what it listens with; `observe` is what is kept of requests; `insight` is what the data plane tells
//! the admin API; `offline` and `ca` are what the command line does without a running process.

pub(crate) mod ask;
mod block_lists;
pub(crate) mod ca;
mod embedded;
mod ballast;
mod finder;
mod holder;
mod insight;
mod listeners;
mod loops;
mod names;
mod observe;
mod seats;
mod serving;
pub(crate) mod offline;

use std::{fs, num::NonZeroUsize, process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portolan_core::{
    live::{Live, live},
    port::PortFuture,
    problem::{Problem, Severity},
    snapshot::Snapshot,
};
use portolan_net::{
    dns::{self, DnsFigures, Forwarding, Forwardings, Policies},
    health::Prober,
    http::{HttpConfig, Ledger, Server},
    tls,
    transport::{self, Trust},
};
use portolan_wasm::{Host, HostConfig};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    admin::Admin,
    compiler::Processes,
    config::{self, Config, Drain, Loaded},
    control::{
        Controller, Start,
        bindings::is_unbound,
        board::{Board, EntrypointReport, SharedBoard},
        event::Event,
        lookup::SharedLookups,
        surroundings,
    },
    signal::{Signals, Wish},
    telemetry::{self, Bound, Lines, Protocol, Telemetry},
};
use insight::DataPlane;
use listeners::Open;
use names::Names;

/// How long those have who were quick enough to ask something of a start that came to nothing.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// How long the last lines of the log may take: nobody may be reading them.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until a signal ends it.
pub(crate) fn run(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::start(&loaded.config.log).context("cannot start the log")?;
    let lines = telemetry.lines();
    raise_open_files();
    let runtime = control_runtime()?;
    let ended = runtime.block_on(serve(loaded, telemetry)).unwrap_or_else(|error| {
        // As `main` would say it, which would wait for whoever reads.
        lines.push(format!("error: {error:#}\n").as_bytes());
        ExitCode::FAILURE
    });
    drop(runtime);
    lines.finish(LAST_WORDS);
    Ok(ended)
}

/// As many open files as the system lets us have: what it gives at first (1024, mostly) is for
/// programs that use select(2).
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Threads for everything that is not a request or a question.
pub(super) fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        // Plugins are loaded on blocking threads: what that took is not kept for the next time.
        .thread_keep_alive(Duration::from_secs(1))
        .on_thread_stop(crate::give_memory_back)
        .enable_all()
        .build()
        .context("cannot start the control threads")
}

async fn serve(loaded: Loaded, telemetry: Telemetry) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let lines = telemetry.lines();
    let config = loaded.config.clone();
    create_folders(&config)?;
    let seen = config::Seen::new(&loaded.report.source().text);
    let watched = watch_config(&loaded, seen.clone());
    let (publisher, reader) = live(Snapshot::default());
    let (ledger, exporter) = observe::ledger(&config).await?;
    let trust = Arc::new(Trust::new(&config.base));
    let server = Arc::new(start_server(&config, &reader, ledger, trust.clone())?);
    let (drain, draining) = watch::channel(false);
    let board: SharedBoard = Arc::new(ArcSwap::from_pointee(Board::empty()));
    let around = surroundings::Watched::default();
    let forwardings =
        Arc::new(Forwardings::new(Forwarding::default(), Arc::new(Trust::new(&config.base))));
    let lookups = SharedLookups::default();
    forwardings.look_up_with(Arc::new(finder::Lookup::new(lookups.clone(), reader.clone())));
    let names = (forwardings.clone(), around.names.clone());
    let listeners = open(&config, &server, &reader, &board, draining, names);
    let compiler = Processes::new();
    let start = Start {
        loaded,
        seen,
        host: host(&config, &compiler)?,
        embedded: embedded::PLUGINS,
        publisher,
        listeners: Box::new(listeners),
        board: board.clone(),
        telemetry,
        prober: Prober::start(trust.clone()),
        lookups,
        contents: around.contents.clone(),
    };
    let Some((mut controller, events)) = begun(Controller::start(start), &mut signals).await else {
        compiler.stop();
        tracing::info!("ended before it had begun");
        return Ok(ExitCode::SUCCESS);
    };
    ballast::let_go();
    let (bound, mut refused) = controller.listen().await;
    refused.retain(keeps_from_serving);
    if !refused.is_empty() {
        // What listens already ends in order.
        server.drain(AFTER_REFUSAL).await;
        anyhow::bail!(told(&refused));
    }
    greet(&config, &bound, &reader, &lines);
    tokio::spawn(announce(watched, events.clone()));
    tokio::spawn(surroundings::watch(around, events.clone()));
    tokio::spawn(loops::watch(forwardings.clone(), events.clone()));
    let upstream_events = events.clone();
    // It has lines of its own in the log.
    let tell = move |problems| {
        let events = upstream_events.clone();
        // The loop may have ended before us.
        async move { drop(events.send(Event::Upstreams(problems)).await) }
    };
    tokio::spawn(dns::tend_upstreams(forwardings, tell));
    let tell = teller(events.clone(), Event::Certificates);
    let keyring = server.keyring().clone();
    tokio::spawn(async move { tls::tend(keyring, tell).await });
    let tell = teller(events.clone(), Event::Transports);
    tokio::spawn(transport::tend(trust, reader.clone(), tell));
    let (stop, stopped) = oneshot::channel();
    let control = tokio::spawn(controller.run(stopped));
    asked_to_end(&mut signals, &server, &events).await;
    let Drain { accept, timeout: limit } = board.load().drain.clone();
    // Whoever sends us clients sees it from now on.
    drain.send_replace(true);
    if !accept.is_zero() {
        tracing::info!(?accept, "leaving: connections are accepted until others have seen it");
        let again = asked_to_end(&mut signals, &server, &events);
        // Asked again, or nobody is expected any more.
        timeout(accept, again).await.unwrap_or_default();
    }
    tracing::info!(?limit, "draining");
    compiler.stop();
    stop.send(()).unwrap_or_default();
    tokio::select! {
        () = server.drain(limit) => (),
        () = aborted(&mut signals, &server) => {
            tracing::warn!("ended before everything had finished");
        }
    }
    observe::finish(&server, exporter).await;
    drop(control.await.context("the control loop did not end well")?);
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// Whether it is one of what listens: something that cannot be reached is not up.
fn keeps_from_serving(problem: &Problem) -> bool {
    problem.severity == Severity::Error && is_unbound(problem)
}

/// Waits for a wish to end, and sees to all others.
async fn asked_to_end(signals: &mut Signals, server: &Server, events: &mpsc::Sender<Event>) {
    loop {
        let wish = signals.next().await;
        if !matches!(wish, Wish::Reload | Wish::Reopen) {
            return;
        }
        server.ledger().access_log.iter().for_each(|log| log.reopen());
        if wish == Wish::Reload {
            tracing::info!("reading everything again");
            // The loop ends after us.
            drop(events.send(Event::Reload).await);
        }
    }
}

/// Waits for the wish to end at once, while a drain goes on.
async fn aborted(signals: &mut Signals, server: &Server) {
    while signals.next().await != Wish::Abort {
        // Logs are rotated at any time; there is nothing else to read again now.
        server.ledger().access_log.iter().for_each(|log| log.reopen());
    }
}

/// Sees a start through; `None` if a signal ends it before.
async fn begun<T>(start: impl Future<Output = T>, signals: &mut Signals) -> Option<T> {
    let mut start = std::pin::pin!(start);
    loop {
        tokio::select! {
            begun = &mut start => return Some(begun),
            // Everything is being read just now.
            wish = signals.next() => if !matches!(wish, Wish::Reload | Wish::Reopen) { return None },
        }
    }
}

/// What listens, and the admin API that tells of it.
fn open(
    config: &Config,
    server: &Arc<Server>,
    reader: &Live,
    board: &SharedBoard,
    draining: watch::Receiver<bool>,
    (forwardings, around): (Arc<Forwardings>, surroundings::Files),
) -> Open {
    let dns: Arc<[Arc<DnsFigures>]> =
        (0..server.workers().count()).map(|_| Arc::default()).collect();
    let policies = Arc::<Policies>::default();
    let plane = Arc::new(DataPlane {
        http: server.clone(),
        dns: dns.clone(),
        forwardings: forwardings.clone(),
        policies: policies.clone(),
        labels: config.counting.labels,
    });
    let make_admin = {
        let (reader, board) = (reader.clone(), board.clone());
        move || Admin::new(reader.clone(), board.clone(), plane.clone())
    };
    let names = Names::new(reader.clone(), dns, (forwardings, policies), around);
    Open::new(server.clone(), names, Box::new(make_admin), draining)
}

/// The folders that must be there: for what we keep, and to drop plugins into.
fn create_folders(config: &Config) -> anyhow::Result<()> {
    let data = &config.data_dir;
    fs::create_dir_all(data)
        .with_context(|| format!("cannot create `data-dir`, {}", data.display()))?;
    let plugins = &config.plugins.directory;
    // Without it everything works but dropping plugins into it.
    if let Err(error) = fs::create_dir_all(plugins) {
        tracing::warn!(directory = %plugins.display(), %error, "no plugins folder");
    }
    Ok(())
}

fn start_server(
    config: &Config,
    reader: &Live,
    ledger: Ledger,
    trust: Arc<Trust>,
) -> anyhow::Result<Server> {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let http = HttpConfig {
        authority: Some(config.data_dir.join("ca")),
        transport: trust,
        reason_header: config.reason_header.clone(),
        ledger,
        ..HttpConfig::default()
    };
    let server = Server::start(http, reader.clone(), config.threads.unwrap_or_else(cores));
    let server = server.context("cannot start the workers")?;
    server.workers().run(|_| {
        Box::new(|_| {
            Host::prepare_thread();
            Box::pin(std::future::ready(()))
        })
    });
    Ok(server)
}

/// Runs guests within the limits of the configuration.
pub(super) fn host(config: &Config, compiler: &Processes) -> anyhow::Result<Host> {
    let usual = HostConfig::default();
    let memory = config.plugins.memory_limit.get_ref().0;
    let instance_memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let limits = HostConfig {
        cache_dir: Some(config.data_dir.join("cache")),
        instance_memory,
        // As config.toml says.
        plugin_memory: instance_memory.saturating_mul(8).max(usual.plugin_memory),
        call_limit: *config.plugins.time_limit.get_ref(),
        compiler: Arc::new(compiler.clone()),
        ..usual
    };
    Host::new(limits).context("cannot start the plugin host")
}

/// Notices of changes of the file; `None` for the embedded default.
fn watch_config(loaded: &Loaded, seen: config::Seen) -> Option<mpsc::Receiver<()>> {
    let watched = config::watch(loaded.file()?, seen);
    watched.inspect_err(|error| tracing::warn!(%error, "configuration not watched")).ok()
}

async fn announce(watched: Option<mpsc::Receiver<()>>, events: mpsc::Sender<Event>) {
    let Some(mut watched) = watched else { return };
    while watched.recv().await.is_some() && events.send(Event::Config).await.is_ok() {}
}

/// Logs what is wrong, once, and passes it on.
fn teller(
    events: mpsc::Sender<Event>,
    event: fn(Vec<Problem>) -> Event,
) -> impl FnMut(Vec<Problem>) -> PortFuture<'static, ()> {
    let mut known: Vec<Problem> = Vec::new();
    move |problems| {
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::warn!(origin = %problem.origin, "{}", problem.message);
        }
        known.clone_from(&problems);
        let events = events.clone();
        // The loop may have ended before us.
        Box::pin(async move { drop(events.send(event(problems)).await) })
    }
}

fn told(problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let hint = problem.hint.as_deref().map(|hint| format!("\n  {hint}")).unwrap_or_default();
        format!("{}: {}{hint}", problem.origin, problem.message)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Says what listens where, for tools and for people.
fn greet(config: &Config, bound: &[EntrypointReport], reader: &Live, lines: &Lines) {
    let bound: Vec<_> = bound.iter().map(spoken).collect();
    for one in &bound {
        telemetry::listening(one);
    }
    let snapshot = reader.load();
    let live = snapshot.routers.iter().filter(|router| router.live.is_some());
    let host = live.flat_map(|router| &*router.hosts).find(|host| !host.contains('*'));
    if config.log.format == telemetry::Format::Text {
        let greeting = telemetry::greeting(&bound, host.map(String::as_str));
        lines.push(format!("\n{greeting}\n").as_bytes());
    }
    tracing::info!("ready");
}

fn spoken(report: &EntrypointReport) -> Bound {
    let protocol = match report.protocol {
        "https" => Protocol::Https,
        "dns" => Protocol::Dns,
        "dns-over-tls" => Protocol::DnsOverTls,
        "dns-over-https" => Protocol::DnsOverHttps,
        "admin" => Protocol::Admin,
        _ => Protocol::Http,
    };
    Bound { name: report.name.to_string(), protocol, address: report.address }
}
