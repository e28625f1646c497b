//! How a zone of the catalog answers, beside its names.

use crate::item::Health;

/// How a zone answers. Consul's options of the same names, where it has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ZoneOptions {
    /// Of answers about nodes, in seconds; `None`: that of the zone.
    pub node_ttl: Option<u32>,
    /// Of answers about services, in seconds: a name, the beginning of names (`web*`), or `*`. The
    /// name itself counts before the longest beginning.
    pub service_ttl: Vec<(String, u32)>,
    /// How long others may remember that there is no such thing, in seconds (RFC 2308).
    pub negative_ttl: u32,
    /// Whether an instance with a warning is not answered.
    pub only_passing: bool,
    /// Whether SRV records that lead to a node bring what the catalog says about it, as TXT.
    pub node_meta: bool,
}

impl Default for ZoneOptions {
    fn default() -> Self {
        Self {
            node_ttl: None,
            service_ttl: Vec::new(),
            // Short, because a service that is registered now is asked for now.
            negative_ttl: 5,
            only_passing: false,
            node_meta: false,
        }
    }
}

impl ZoneOptions {
    /// Whether an instance that is so is answered.
    pub(super) fn serves(&self, health: Health) -> bool {
        match self.only_passing {
            true => health == Health::Passing,
            false => health.is_usable(),
        }
    }

    /// The TTL of a service, if one is configured for it.
    pub(super) fn ttl_of(&self, service: &str) -> Option<u32> {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(beginning) => {
                let head = service.get(..beginning.len());
                head.is_some_and(|head| head.eq_ignore_ascii_case(beginning))
            }
            None => service.eq_ignore_ascii_case(pattern),
        };
        let rank = |pattern: &str| (!pattern.ends_with('*'), pattern.len());
        let fitting = self.service_ttl.iter().filter(|(pattern, _)| fits(pattern));
        fitting.max_by_key(|(pattern, _)| rank(pattern)).map(|(_, ttl)| *ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_itself_counts_before_the_longest_beginning() {
        let service_ttl = [("web*", 2), ("*", 1), ("web-a*", 3), ("web-a1", 4)];
        let service_ttl = service_ttl.map(|(pattern, ttl)| (pattern.to_owned(), ttl)).into();
        let options = ZoneOptions { service_ttl, ..ZoneOptions::default() };
        for (service, ttl) in
            [("db", 1), ("web", 2), ("Web-b", 2), ("web-a2", 3), ("WEB-A1", 4), ("grün", 1)]
        {
            assert_eq!(options.ttl_of(service), Some(ttl), "{service}");
        }
        assert_eq!(ZoneOptions::default().ttl_of("web"), None);
    }
}
