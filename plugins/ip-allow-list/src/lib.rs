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
    /// What the others get: a status from 200 on that has a name. 0: 403.
    #[serde(default = "forbidden")]
    #[schemars(range(max = 599))]
    reject_status_code: u16,
}

fn forbidden() -> u16 {
    403
}

/// Whether a status of a response has a name: those that Go knows, and so Traefik takes.
fn is_named(status: u16) -> bool {
    matches!(
        status,
        200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451
            | 500..=508 | 510 | 511
    )
}

#[derive(Debug)]
struct IpAllowList(Config);

impl Plugin for IpAllowList {
    type Config = Config;
    const NAME: &'static str = "ip-allow-list";
    const SUMMARY: &'static str = "Lets in only those who come from certain addresses.";

    fn new(mut config: Config) -> Result<Self, Invalid> {
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
        match config.reject_status_code {
            0 => config.reject_status_code = forbidden(),
            status if is_named(status) => {}
            status => {
                let message = format!("{status} is not the status of a response");
                invalid.add("/reject-status-code", message);
            }
        }
        invalid.or(Self(config))
    }
}

impl Middleware for IpAllowList {
    fn interest(&self) -> Interest {
        let ranges = self.0.source_range.iter().map(|range| range.trim());
        let inside = Predicate::client_in(&self.0.ip_strategy, ranges);
        let status = self.0.reject_status_code;
        let reply = match status {
            403 => Reply::new(status).text("403 Forbidden\n"),
            // RFC 9110, 15: these have no content.
            204 | 205 | 304 => Reply::new(status),
            _ => Reply::new(status).text(format!("{status}\n")),
        };
        Interest::default().step(inside.not(), [Action::Reply(reply)])
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
            problems(&["10.0.0.0/8", "here", "::/200"], 199),
            "/source-range/1: `here` is neither an IP address nor a network\n\
             /source-range/2: `::/200` is neither an IP address nor a network\n\
             /ip-strategy/excluded-ips/0: `here` is neither an IP address nor a network\n\
             /ip-strategy/excluded-ips/1: `::/200` is neither an IP address nor a network\n\
             /reject-status-code: 199 is not the status of a response"
        );
    }

    #[test]
    fn every_status_that_has_a_name_can_be_the_answer() {
        let answer = |reject_status_code: u16| {
            let config = Config {
                source_range: vec!["10.0.0.0/8".to_owned()],
                ip_strategy: ClientStrategy::default(),
                reject_status_code,
            };
            let interest = IpAllowList::new(config).ok()?.interest();
            match &interest.steps()[0].1[0] {
                Action::Reply(reply) => Some((reply.status, reply.body.clone())),
                other => panic!("{other:?}"),
            }
        };
        for (status, body) in [(404, "404\n"), (200, "200\n"), (204, ""), (511, "511\n")] {
            assert_eq!(answer(status), Some((status, body.into())));
        }
        assert_eq!(answer(0), Some((403, "403 Forbidden\n".into())));
        for status in [100, 199, 306, 419, 499, 509, 600] {
            assert_eq!(answer(status), None, "{status}");
        }
    }

    #[test]
    fn an_empty_list_is_a_mistake() {
        assert_eq!(
            problems(&[], 403),
            "/source-range: there is no address, so nobody would be let in"
        );
    }
}
