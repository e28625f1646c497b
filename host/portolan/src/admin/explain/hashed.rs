//! Where what clients are told apart by leads a request, as things stand now.

use std::net::IpAddr;

use portolan_core::{
    balance::{Among, Ask, Stay, Tried, address_key, key, mark},
    exchange::Headers,
    moment::Moment,
    policy::{HashOn, Strategy},
    service::{Kind, Service, Weighted},
};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// The client, as trusted proxies have it.
    pub(super) ip: IpAddr,
    /// Whether code of a middleware runs, which may change its headers.
    pub(super) is_changed: bool,
}

/// Where a request is led.
#[derive(Debug, Default)]
pub(super) struct Leads {
    /// One sentence for each hash on the way.
    pub(super) told: Vec<String>,
    /// The backend, where nothing else has a say in it.
    pub(super) backend: Option<String>,
}

/// Where a request with these headers, as they leave the middlewares, is led by a hash. Nowhere in
/// particular where nobody is told apart, and where a cookie keeps the client.
pub(super) fn leads(service: &Service, headers: &Headers, asker: Asker, now: Moment) -> Leads {
    let mut leads = Leads::default();
    leads.backend = Walk { headers, asker, now, told: &mut leads.told }.at(service, false);
    leads
}

struct Walk<'a> {
    headers: &'a Headers,
    asker: Asker,
    now: Moment,
    told: &'a mut Vec<String>,
}

impl Walk<'_> {
    /// Answers the backend, if it is known. `is_open`: whether chance may lead elsewhere before.
    fn at(&mut self, service: &Service, is_open: bool) -> Option<String> {
        match &service.kind {
            Kind::Backends if service.load_balancer.strategy == Strategy::Hashed => {
                self.at_backends(service, is_open)
            }
            Kind::Backends => None,
            Kind::Weighted(weighted) => self.at_members(service, weighted, is_open),
            Kind::Mirroring(mirroring) => self.at(&mirroring.main, is_open),
            Kind::Failover(failover) => self.at(failover.choose(self.now).0?, is_open),
        }
    }

    fn at_members(
        &mut self,
        service: &Service,
        weighted: &Weighted,
        is_open: bool,
    ) -> Option<String> {
        let kept = weighted.cookie.as_ref().and_then(|cookie| cookie.place(self.headers));
        let kept = kept.filter(|place| weighted.keeps(*place, self.now));
        let place = match (kept, weighted.by_client) {
            (Some(kept), _) => kept,
            (None, true) => {
                let client = address_key(self.asker.ip);
                let place = weighted.choose(self.headers, client, self.now)?;
                let member = &weighted.members.get(place)?.name;
                let ip = self.asker.ip;
                self.tell(service, is_open, format!("address {ip} leads it to {member}"));
                place
            }
            (None, false) => {
                let shares = |place: &usize| weighted.shares(*place, self.now);
                let all: Vec<_> = (0..weighted.members.len()).filter(shares).collect();
                for place in &all {
                    if let Some(member) = weighted.members.get(*place)?.service.as_ref() {
                        self.at(member, true);
                    }
                }
                return None;
            }
        };
        let member = weighted.members.get(place)?.service.as_ref()?;
        self.at(member, is_open)
    }

    fn at_backends(&mut self, service: &Service, is_open: bool) -> Option<String> {
        let ip = self.asker.ip;
        let hash_on = &service.load_balancer.hash_on;
        let mark = mark(hash_on, self.headers);
        let ask = Ask {
            tried: &Tried::default(),
            now: self.now,
            key: mark.map_or_else(|| address_key(ip), key),
            among: Among::All,
        };
        if let Some(kept) = service.cookie.as_ref().and_then(|cookie| cookie.place(self.headers))
            && service.balancer.may_stay(&service.backends, kept, &ask) != Stay::No
        {
            return None;
        }
        let by = match (hash_on, mark) {
            (HashOn::Header(name), Some(_)) => format!("header `{name}`"),
            (HashOn::Cookie(name), Some(_)) => format!("cookie `{name}`"),
            (HashOn::ClientIp, _) => format!("address {ip}"),
            (HashOn::Header(name), None) => format!("address {ip}, without a header `{name}`,"),
            (HashOn::Cookie(name), None) => format!("address {ip}, without a cookie `{name}`,"),
        };
        // Nobody else takes a turn: the same client would be led to the same backend again.
        let place = service.balancer.next(&service.backends, &ask)?;
        let url = service.backends.get(place)?.url();
        let is_changed = self.asker.is_changed && *hash_on != HashOn::ClientIp;
        let unless = if is_changed { ", unless code of a middleware changes that" } else { "" };
        self.tell(service, is_open, format!("{by} leads it to {url}{unless}"));
        (!is_changed && !is_open).then_some(url)
    }

    fn tell(&mut self, service: &Service, is_open: bool, sentence: String) {
        self.told.push(match is_open {
            true => format!("at {}: {sentence}", service.name),
            false => sentence,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc, time::Instant};

    use http::HeaderMap;
    use portolan_core::{
        backend::Scheme,
        item::Health,
        name::ObjectName,
        policy::LoadBalancer,
        service::{Backend, Member},
    };

    use super::*;

    fn service(name: &str) -> Arc<Service> {
        let backend = |port: u16| Backend {
            scheme: Scheme::Http,
            authority: format!("10.0.0.1:{port}").into(),
            path: None,
            weight: 1,
            health: Health::Passing,
            origin: "test".into(),
            figures: Arc::default(),
        };
        let options = LoadBalancer {
            strategy: Strategy::Hashed,
            hash_on: HashOn::Header("x-user".parse().unwrap()),
            ..LoadBalancer::default()
        };
        let backends = vec![backend(81), backend(82), backend(83)];
        Arc::new(Service::new(ObjectName::new(name, "test"), options, backends))
    }

    fn weighted(by_client: bool) -> Service {
        let member = |name: &str| {
            let service = service(name);
            Member { name: service.name.clone(), weight: 1, service: Some(service) }
        };
        let weighted = Weighted::new(vec![member("v1"), member("v2")], by_client, None);
        Service::of(ObjectName::new("both", "test"), Kind::Weighted(weighted))
    }

    /// Ports of backends are left out, since a hash decides.
    fn told(service: &Service, user: Option<&str>, is_changed: bool) -> (Vec<String>, bool) {
        let mut headers = HeaderMap::new();
        if let Some(user) = user {
            headers.insert("x-user", user.parse().unwrap());
        }
        let asker = Asker { ip: Ipv4Addr::new(192, 0, 2, 1).into(), is_changed };
        let leads = leads(service, &headers.into(), asker, Moment::of(Instant::now()));
        let told = leads.told.iter().map(|it| it.replace(['1', '2', '3'], "#"));
        (told.collect(), leads.backend.is_some())
    }

    #[test]
    fn what_is_not_known_is_told_as_that() {
        let one = service("one");
        let by_address = "address #9#.0.#.#, without a header `x-user`, leads it to \
                          http://#0.0.0.#:8#";
        assert_eq!(told(&one, None, false), (vec![by_address.to_owned()], true));
        let by_header = "header `x-user` leads it to http://#0.0.0.#:8#";
        assert_eq!(told(&one, Some("ann"), false), (vec![by_header.to_owned()], true));
        let unless = format!("{by_header}, unless code of a middleware changes that");
        assert_eq!(told(&one, Some("ann"), true), (vec![unless], false));
        let at = format!("at v#@test: {by_header}");
        assert_eq!(told(&weighted(false), Some("ann"), false), (vec![at.clone(), at], false));
        let member = "address #9#.0.#.# leads it to v#@test".to_owned();
        let both = vec![member, by_header.to_owned()];
        assert_eq!(told(&weighted(true), Some("ann"), false), (both, true));
    }
}
