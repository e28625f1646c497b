//! Providers as the configuration has them, bound to their plugins.

use std::sync::Arc;

use portolan_core::{
    name::{fold, nearest},
    port::BindError,
};
use portolan_wasm::Grants;

use super::{credentials::Credentials, plugins::Plugins, sources::Candidate};
use crate::config::{Config, model};

/// A provider of the configuration, bound to its plugin if that can be.
pub(super) fn candidate(
    provider: &model::Provider,
    config: &Config,
    plugins: &Plugins,
) -> Candidate {
    let grants = Grants {
        http_client: provider.grants.http_client.clone(),
        credentials: provider.tls.as_ref().map(|tls| {
            let credentials = Credentials::new(tls, &config.base);
            Arc::new(credentials) as Arc<dyn portolan_wasm::Credentials>
        }),
        files: provider.grants.files.clone(),
        base_dir: config.base.clone(),
    };
    let told = grants.http_client.iter().map(|origin| format!("http-client: {origin}"));
    let files = grants.files.iter().map(|folder| format!("files: {}", folder.display()));
    // It is written to disk, and there may be a token in the configuration.
    let identity = format!("{} {}", fold(&provider.plugin), provider.config);
    let identity = blake3::hash(identity.as_bytes()).to_hex().to_string();
    let plugin = plugins.find(&provider.plugin);
    let hash = plugin.map_or("", |plugin| &plugin.info().hash);
    Candidate {
        name: provider.name.as_str().into(),
        plugin: provider.plugin.as_str().into(),
        fingerprint: format!("{identity} {hash} {:?} {:?}", provider.grants, provider.tls),
        grants: told.chain(files).collect(),
        provider: match plugin {
            Some(plugin) => plugin.provider(&provider.name, &provider.config, &grants),
            None => Err(BindError::Refused(missing(&provider.plugin, plugins.names()))),
        },
        identity,
    }
}

fn missing<'a>(plugin: &str, names: impl Iterator<Item = &'a str>) -> String {
    let meant = nearest(plugin, names).map(|name| format!(", did you mean `{name}`?"));
    format!("there is no plugin `{plugin}`{}", meant.unwrap_or_default())
}
