//! An explanation as text for a terminal.
//!
//! **Invariant:** plain text, one fact a line, the verdict first. What came from outside is printed
//! without control characters, so that a tag cannot write to somebody's terminal.

use std::fmt;

use super::{BackendShare, Candidate, Explanation, Handshake, NameAnswer, NameOutcome, Outcome};
use crate::admin::left_out::LeftOut;

/// An explanation as lines of text.
pub(crate) fn print(explanation: &Explanation) -> String {
    let text = Lines(explanation).to_string();
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

struct Lines<'a>(&'a Explanation);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = self.0;
        writeln!(out, "{} {}", it.request.method, it.request.url)?;
        writeln!(out, "→ {}\n", it.verdict)?;
        section(out, "reason", it.reason.clone())?;
        if let Some(dns) = &it.dns {
            section(out, "name", name(dns))?;
        }
        if let Some(entrypoint) = &it.entrypoint {
            section(out, "entrypoint", [format!("{} ({})", entrypoint.name, entrypoint.address)])?;
        }
        section(out, "handshake", it.tls.as_ref().map(handshake))?;
        section(out, "routers", candidates(&it.candidates))?;
        let steps = it.middlewares.iter().flat_map(|step| {
            let mut head = match step.plugin.as_str() {
                "" => step.middleware.clone(),
                plugin => format!("{} ({plugin})", step.middleware),
            };
            if !step.chains.is_empty() {
                head.push_str(&format!(", by the chain {}", step.chains.join(" and ")));
            }
            let does = step.does.iter().map(|line| format!("  {line}"));
            std::iter::once(head).chain(does)
        });
        section(out, "middlewares", steps)?;
        if let Some(service) = &it.service {
            section(out, "service", [service.name.clone()])?;
            section(out, "backends", service.backends.iter().map(backend))?;
            section(out, "sticky", service.stays.iter().cloned())?;
            section(out, "hashed", service.leads.iter().cloned())?;
        }
        section(out, "left out", it.left_out.iter().map(left_out))
    }
}

/// A title on the left of its first line; nothing at all without lines.
fn section(
    out: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl IntoIterator<Item = String>,
) -> fmt::Result {
    for (place, line) in lines.into_iter().enumerate() {
        let title = if place == 0 { title } else { "" };
        writeln!(out, "  {title:<12} {line}")?;
    }
    Ok(())
}

fn name(dns: &NameAnswer) -> Vec<String> {
    let answer = match dns.outcome {
        NameOutcome::Answered => "",
        NameOutcome::NoData => "no addresses (NODATA)",
        NameOutcome::NxDomain => "no such name (NXDOMAIN)",
        NameOutcome::Forwarded => "asked upstream",
        NameOutcome::OnDemand => "looked up when it is asked",
        NameOutcome::ServFail => "not known yet (SERVFAIL)",
    };
    let records: Vec<String> =
        dns.records.iter().map(|it| format!("{} {}, {} s", it.rtype, it.data, it.ttl)).collect();
    let parts: Vec<&str> = [answer].into_iter().chain(records.iter().map(String::as_str)).collect();
    let parts = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    vec![format!("{}: {parts}", dns.name), format!("  {}", dns.why)]
}

fn handshake(it: &Handshake) -> String {
    let client = match it.client_certificate.as_str() {
        "required" => ", a client certificate is required",
        "optional" => ", a client certificate is asked for",
        _ => "",
    };
    let refused = it.refused.as_ref().map(|why| format!(", refused: {why}")).unwrap_or_default();
    format!("TLS options `{}`{client}{refused}", it.options)
}

fn candidates(candidates: &[Candidate]) -> Vec<String> {
    if candidates.is_empty() {
        return vec!["none fits".to_owned()];
    }
    let mut lines = Vec::new();
    for candidate in candidates {
        let mark = match candidate.outcome {
            Outcome::Selected => '✓',
            Outcome::Shadowed => '·',
            Outcome::Mismatch => '✗',
            Outcome::Skipped => '-',
        };
        let Candidate { router, priority, rule, reason, .. } = candidate;
        lines.push(format!("{mark} {router}, priority {priority}: {rule}"));
        if !reason.is_empty() {
            lines.push(format!("    {reason}"));
        }
    }
    lines
}

fn backend(it: &BackendShare) -> String {
    match it.usable {
        true => format!("✓ {} {}, {} %", it.url, it.health, it.percent),
        false => format!("✗ {} {}, not used", it.url, it.health),
    }
}

fn left_out(it: &LeftOut) -> String {
    format!("{} of {}: {}", it.counted(), it.service, it.reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::print;

    #[test]
    fn says_the_verdict_first_and_one_fact_a_line() {
        let explanation = serde_json::from_value(json!({
            "request": {
                "method": "GET", "url": "http://grafana.local/api", "headers": [],
                "client": "127.0.0.1", "entrypoint": "web",
            },
            "dns": {
                "name": "grafana.local", "outcome": "answered", "why": "router `grafana@consul`",
                "records": [{ "type": "A", "data": "127.0.0.1", "ttl": 10 }],
            },
            "entrypoint": { "name": "web", "address": "127.0.0.1:8000" },
            "tls": { "options": "internal", "clientCertificate": "required" },
            "candidates": [
                {
                    "router": "api@consul", "priority": 30, "rule": "PathPrefix(`/v2`)",
                    "outcome": "mismatch", "reason": "the path does not start with `/v2`",
                },
                {
                    "router": "grafana@consul", "priority": 21, "rule": "Host(`grafana.local`)",
                    "outcome": "selected", "reason": "",
                },
            ],
            "router": "grafana@consul",
            "middlewares": [{
                "middleware": "hello@config", "plugin": "headers", "runsCode": false,
                "chains": ["secured@consul"],
                "does": ["sets the response header `x: \u{1b}[31mred`"],
            }],
            "service": {
                "name": "grafana@consul",
                "backends": [
                    { "url": "http://10.0.0.7:3000", "health": "passing", "usable": true,
                      "percent": 100, "origin": "grafana-1" },
                    { "url": "http://10.0.0.8:3000", "health": "critical", "usable": false,
                      "percent": 0, "origin": "grafana-2" },
                ],
            },
            "leftOut": [{
                "service": "grafana@consul", "reason": "`constraints` does not match its tags",
                "count": 3, "instances": ["grafana-3", "grafana-4", "grafana-5"],
            }],
            "verdict": "router `grafana@consul` takes it",
            "generation": 7,
        }))
        .unwrap();
        let expected = "\
GET http://grafana.local/api
→ router `grafana@consul` takes it

  name         grafana.local: A 127.0.0.1, 10 s
                 router `grafana@consul`
  entrypoint   web (127.0.0.1:8000)
  handshake    TLS options `internal`, a client certificate is required
  routers      ✗ api@consul, priority 30: PathPrefix(`/v2`)
                   the path does not start with `/v2`
               ✓ grafana@consul, priority 21: Host(`grafana.local`)
  middlewares  hello@config (headers), by the chain secured@consul
                 sets the response header `x: [31mred`
  service      grafana@consul
  backends     ✓ http://10.0.0.7:3000 passing, 100 %
               ✗ http://10.0.0.8:3000 critical, not used
  left out     3 instances of grafana@consul: `constraints` does not match its tags
";
        assert_eq!(print(&explanation), expected);
    }
}
