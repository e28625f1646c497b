//! `ip-allow-list`: lets in only those who come from certain addresses. All plan: it never runs for
//! a request.

use portolan_plugin::{
    Action, ClientStrategy, Interest, Invalid, Middleware, Plugin, Predicate, Reply, is_ip_range,
    register,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.ip-allow-list]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Addresses and networks that are let in: `10.0.0.0/8`, `2001:db8::1`.
    source_range: Vec<String>,
    /// Which address is the client's, where there are proxies before us. They have to be trusted
    /// (`forwarded-headers` of the entrypoint), else there is no such address and nobody is let in.
    #[serde(default)]
    ip_strategy: ClientStrategy,
    /// What the others get.
    #[serde(default = "forbidden")]
    #[schemars(range(min = 400, max = 599))]
    reject_status_code: u16,
}

fn forbidden() -> u16 {
    403
}

#[derive(Debug)]
struct IpAllowList(Config);

impl Plugin for IpAllowList {
    type Config = Config;
    const NAME: &'static str = "ip-allow-list";
    const SUMMARY: &'static str = "Lets in only those who come from certain addresses.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        if config.source_range.is_empty() {
            invalid.add("/source-range", "there is no address, so nobody would be let in");
        }
        for (place, range) in config.source_range.iter().enumerate() {
            if !is_ip_range(range.trim()) {
                let message = format!("`{range}` is neither an IP address nor a network");
                invalid.add(format!("/source-range/{place}"), message);
            }
        }
        config.ip_strategy.check("/ip-strategy", &mut invalid);
        if !(400..=599).contains(&config.reject_status_code) {
            invalid.add("/reject-status-code", "a refusal has a status of 400 to 599");
        }
        invalid.or(Self(config))
    }
}

impl Middleware for IpAllowList {
    fn interest(&self) -> Interest {
        let ranges = self.0.source_range.iter().map(|range| range.trim());
        let inside = Predicate::client_in(&self.0.ip_strategy, ranges);
        let status = self.0.reject_status_code;
        let text = if status == 403 { "403 Forbidden\n".to_owned() } else { format!("{status}\n") };
        Interest::default().step(inside.not(), [Action::Reply(Reply::new(status).text(text))])
    }
}

register!(IpAllowList: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(ranges: &[&str], reject_status_code: u16) -> String {
        let source_range = ranges.iter().map(|&range| range.to_owned()).collect();
        let ip_strategy = ClientStrategy {
            excluded_ips: ranges.iter().skip(1).map(|&range| range.to_owned()).collect(),
            ..ClientStrategy::default()
        };
        let config = Config { source_range, ip_strategy, reject_status_code };
        IpAllowList::new(config).unwrap_err().to_string()
    }

    #[test]
    fn each_bad_range_is_named() {
        assert_eq!(
            problems(&["10.0.0.0/8", "here", "::/200"], 200),
            "/source-range/1: `here` is neither an IP address nor a network\n\
             /source-range/2: `::/200` is neither an IP address nor a network\n\
             /ip-strategy/excluded-ips/0: `here` is neither an IP address nor a network\n\
             /ip-strategy/excluded-ips/1: `::/200` is neither an IP address nor a network\n\
             /reject-status-code: a refusal has a status of 400 to 599"
        );
    }

    #[test]
    fn an_empty_list_is_a_mistake() {
        assert_eq!(
            problems(&[], 403),
            "/source-range: there is no address, so nobody would be let in"
        );
    }
}
