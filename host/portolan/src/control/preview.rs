//! What a configuration would add up to: all that a start does, without a socket, a provider that
//! asks anybody, or a byte on disk but the cache of compiled code.

use std::{sync::Arc, time::Duration};

use portolan_core::{
    assemble::Assembler, catalog::Source, pointer::child, port::BindError, problem::Problem,
    snapshot::Snapshot,
};
use portolan_wasm::{Host, PluginWatch};

use super::{
    MAX_PLUGIN,
    board::Board,
    candidate::candidate,
    files::{ContentFiles, strangers},
    hosts::HostsFiles,
    inputs::{config_source, inputs},
    internal::Internal,
    plugins::Plugins,
    records::Said,
    sources::Candidate,
};
use crate::config::{Loaded, model};

/// What a configuration would add up to.
pub(crate) struct Preview {
    /// What would be served, as far as it does not depend on a provider's answers.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Every plugin and provider, and what is wrong with plugins.
    pub(crate) board: Board,
    /// The providers that were read for it: those that need no more than files.
    pub(crate) read: Vec<Arc<str>>,
    /// What is wrong with providers and grants: JSON Pointer into the configuration, and the problem.
    pub(crate) provider_problems: Vec<(String, Problem)>,
}

/// Looks at what a configuration would add up to.
pub(crate) async fn preview(
    loaded: &Loaded,
    host: Host,
    embedded: &'static [(&'static str, &'static [u8])],
) -> Preview {
    let config = &loaded.config;
    let (_, files) = PluginWatch::open(&config.plugins.directory, MAX_PLUGIN);
    let plugins = Plugins::load(host, embedded, files).await;
    let config_source = Arc::new(config_source(config, &loaded.report.source().name));
    let candidates = config.providers.iter().map(|one| candidate(one, config, &plugins));
    let candidates: Vec<_> = candidates.collect();
    let (mut providers, mut read) = (Vec::new(), Vec::new());
    for (candidate, provider) in candidates.iter().zip(&config.providers) {
        let (source, is_read) = first_step(candidate, provider).await;
        read.extend(is_read.then(|| source.provider.clone()));
        providers.push(Arc::new(source));
    }
    let mut hosts = HostsFiles::default();
    if let Some(dns) = &config.dns {
        hosts.read(&dns.hosts, dns.hosts_domain.as_ref());
    }
    let names = (hosts.entries(), Said::default());
    let contents = Arc::new(ContentFiles::new(config));
    let plugins_and_files = (&plugins, contents);
    let sources: Vec<_> = std::iter::once(config_source).chain(providers).collect();
    let mut inputs =
        inputs(config, config.whereabouts(), names, sources.clone(), plugins_and_files);
    let (mut assembler, mut internal) = (Assembler::default(), Internal::of(config));
    // What a file of a provider refers to of ours is known when all of them were put together.
    let snapshot = loop {
        inputs.sources = sources.iter().cloned().chain(internal.source()).collect();
        let snapshot = assembler.assemble(&inputs);
        if !internal.want_missing(&assembler) {
            break snapshot;
        }
    };
    let provider_problems = candidates.iter().flat_map(|candidate| {
        let place = child("/providers", &candidate.name);
        wrong(candidate, &place)
    });
    let strangers = strangers(config, &loaded.report.source().name, plugins.names());
    let strangers = strangers.into_iter().map(|problem| (problem.path.clone(), problem));
    Preview {
        snapshot,
        read,
        provider_problems: provider_problems.chain(strangers).collect(),
        board: Board {
            providers: candidates.iter().map(Candidate::report).collect(),
            plugins: plugins.reports(),
            plugin_files: config.plugin_files.clone(),
            problems: plugins.problems(),
            ..Board::empty()
        },
    }
}

/// What a provider that may do no more than read files reports first, and whether it did. Others are
/// named, and not heard, so that references to them are not taken for mistakes.
async fn first_step(candidate: &Candidate, provider: &model::Provider) -> (Source, bool) {
    let mut source = Source::new(candidate.name.clone(), candidate.plugin.clone());
    let grants = &provider.grants;
    let reads_files = grants.http_client.is_empty() && !grants.files.is_empty();
    let mut is_read = false;
    if let (true, Ok(provider)) = (reads_files, &candidate.provider)
        && let Ok(step) = provider.poll(None, Duration::ZERO).await
    {
        is_read = source.apply(step.update, step.notices).is_ok();
    }
    (source, is_read)
}

fn wrong(candidate: &Candidate, place: &str) -> Vec<(String, Problem)> {
    let problem = |message: String| Problem::error(&*candidate.name, place, message);
    match &candidate.provider {
        Ok(_) => Vec::new(),
        Err(BindError::Config(fields)) => fields
            .iter()
            .map(|field| {
                let problem =
                    Problem { hint: field.hint.clone(), ..problem(field.message.clone()) };
                (format!("{place}/config{}", field.path), problem)
            })
            .collect(),
        Err(error) => vec![(place.to_owned(), problem(error.to_string()))],
    }
}
