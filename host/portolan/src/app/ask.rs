//! `healthcheck`, `plugins` and `explain`: what a running process is asked.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use super::{control_runtime, offline};
use crate::{
    admin::explain::{Question, ask, print},
    args::Explain,
    config::{Config, Loaded},
};

/// Asks the running process of this configuration whether it is well.
pub(crate) fn health_of(config: &Config) -> anyhow::Result<ExitCode> {
    health(address(config)?)
}

/// Asks the process whose admin API is there whether it is well; an error says why it is not.
pub(crate) fn health(admin: SocketAddr) -> anyhow::Result<ExitCode> {
    let asked = control_runtime()?.block_on(ask::ping(admin))?;
    put(&format!("OK: http://{asked}/ping\n"))
}

/// Asks the running process what it would do with a request, and why.
pub(crate) fn explain(loaded: &Loaded, asked: &Explain) -> anyhow::Result<ExitCode> {
    let address = match asked.admin {
        Some(address) => address,
        None => address(&loaded.config)?,
    };
    let header = |(name, value): &(http::HeaderName, http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let question = Question {
        method: asked.method.to_string(),
        url: asked.url.to_string(),
        headers: asked.headers.iter().map(header).collect(),
        ..Question::default()
    };
    let explanation = control_runtime()?.block_on(ask::ask(address, &question))?;
    let text = match asked.json {
        true => format!("{:#}\n", serde_json::to_value(&explanation)?),
        false => print::print(&explanation),
    };
    put(&text)
}

/// Tells the plugins of the running process, else those that one would load.
pub(crate) fn plugins(loaded: &Loaded, json: bool) -> anyhow::Result<ExitCode> {
    let running = match address(&loaded.config) {
        Ok(address) => {
            let answer = control_runtime()?.block_on(ask::get::<Value>(address, "/api/plugins"));
            answer.ok()
        }
        Err(_not_running) => None,
    };
    let is_running = running.is_some();
    let plugins = match running {
        Some(plugins) => plugins,
        None => offline::plugins(loaded)?,
    };
    if json {
        return put(&format!("{plugins:#}\n"));
    }
    let mut text = String::new();
    if !is_running {
        text.push_str("Nothing runs with this configuration; it would load:\n\n");
    }
    for plugin in plugins.as_array().into_iter().flatten() {
        text.push_str(&lines(plugin));
    }
    put(&text)
}

/// A plugin in a few lines.
fn lines(plugin: &Value) -> String {
    let text = |key: &str| plugin.get(key).and_then(Value::as_str).unwrap_or_default();
    let list = |key: &str| {
        let items = plugin.get(key).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut lines = match text("hash").get(..16) {
        Some(hash) => format!(
            "{} {}  {}  {}\n    {}\n    from {}, hash {hash}\n",
            text("name"),
            text("version"),
            list("kinds"),
            text("state"),
            text("summary"),
            text("file"),
        ),
        // Nothing is known of a file that never loaded.
        None => format!("{}  {}\n", text("name"), text("state")),
    };
    for (what, items) in
        [("imports", list("imports")), ("granted", list("grants")), ("matchers", list("matchers"))]
    {
        if !items.is_empty() {
            lines.push_str(&format!("    {what} {items}\n"));
        }
    }
    if let Some(cost) = plugin.get("figures").and_then(cost) {
        lines.push_str(&format!("    {cost}\n"));
    }
    if !text("error").is_empty() {
        lines.push_str(&format!("    the file as it is now is not in use: {}\n", text("error")));
    }
    lines
}

/// What a plugin has cost so far; `None`: it was never called.
fn cost(figures: &Value) -> Option<String> {
    let number = |key: &str| figures.get(key).and_then(Value::as_u64).unwrap_or_default();
    let calls = number("calls");
    let nanos = figures.pointer("/duration/sum").and_then(Value::as_u64).unwrap_or_default();
    let each = Duration::from_nanos(nanos.checked_div(calls)?);
    let memory = number("memory").div_ceil(1024);
    let instances = number("instances");
    let ends = [
        ("traps", "traps"),
        ("deadlines", "too slow"),
        ("outOfMemory", "out of memory"),
        ("failures", "failures"),
    ];
    let ends: String = ends
        .iter()
        .filter(|(key, _)| number(key) > 0)
        .map(|(key, word)| format!(", {} {word}", number(key)))
        .collect();
    Some(format!(
        "called {calls} times, {each:.1?} each{ends}; {instances} instances with {memory} KiB"
    ))
}

/// Where the admin API of a process with this configuration is.
fn address(config: &Config) -> anyhow::Result<SocketAddr> {
    let admin = config.admin.as_ref().context("`admin` is switched off in the configuration")?;
    if admin.address.port() != 0 {
        return Ok(admin.address);
    }
    let file = offline::address_file(config);
    let bound = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    bound.context("there is no running Portolan with this configuration")
}

fn put(text: &str) -> anyhow::Result<ExitCode> {
    io::stdout().write_all(text.as_bytes()).context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_file_that_never_loaded_nothing_is_told_but_why() {
        let failed = json!({ "name": "broken", "state": "failed", "error": "is no plugin" });
        assert_eq!(
            lines(&failed),
            "broken  failed\n    the file as it is now is not in use: is no plugin\n"
        );
    }
}
