//! How the traffic of a service is shared, and where a request of a client that was there before goes.

use std::time::Instant;

use portolan_core::{
    backend::Out,
    balance::{Among, Ask, Stay, Tried},
    exchange::Headers,
    moment::Moment,
    service::{Backend, Kind, Member, Service},
};

use super::{
    BackendShare, ServiceShare,
    hashed::{Asker, Leads, leads},
};

/// Who answers for a service a request with these headers, as they leave the middlewares.
pub(super) fn share(service: &Service, headers: &Headers, asker: Asker) -> ServiceShare {
    let now = Moment::of(Instant::now());
    let (mut backends, mut stays) = (Vec::new(), Vec::new());
    shares(service, 100.0, now, &mut backends);
    stay(service, headers, now, &mut stays);
    let rests = service.rests(now);
    let Leads { told: leads, backend: chosen } = match rests {
        None => leads(service, headers, asker, now),
        Some(_) => Leads::default(),
    };
    ServiceShare { name: service.name.to_string(), backends, stays, leads, chosen, rests }
}

/// What sticky cookies of a request say, from the service down to where they lead.
fn stay(service: &Service, headers: &Headers, now: Moment, all: &mut Vec<String>) {
    match &service.kind {
        Kind::Backends => all.extend(stay_at_backend(service, headers, now)),
        Kind::Weighted(weighted) => {
            let kept = weighted.cookie.as_ref().and_then(|cookie| cookie.place(headers));
            let kept = kept.and_then(|place| Some((place, weighted.members.get(place)?)));
            let Some((place, member)) = kept else {
                // Whose cookie counts is not known before one is chosen.
                return;
            };
            let cookie = weighted.cookie.as_ref().map_or("", |cookie| cookie.name());
            if !weighted.keeps(place, now) {
                all.push(format!("cookie `{cookie}` names {}, which is not asked", member.name));
                return;
            }
            all.push(format!("cookie `{cookie}` keeps it at {}", member.name));
            member.service.iter().for_each(|service| stay(service, headers, now, all));
        }
        Kind::Mirroring(mirroring) => stay(&mirroring.main, headers, now, all),
        Kind::Failover(failover) => {
            failover.choose(now).0.into_iter().for_each(|first| stay(first, headers, now, all));
        }
    }
}

fn stay_at_backend(service: &Service, headers: &Headers, now: Moment) -> Option<String> {
    let cookie = service.cookie.as_ref()?;
    let place = cookie.place(headers)?;
    let (name, url) = (cookie.name(), service.backends.get(place)?.url());
    let ask = Ask { tried: &Tried::default(), now, key: 0, among: Among::All };
    Some(match service.balancer.may_stay(&service.backends, place, &ask) {
        Stay::Yes => format!("cookie `{name}` keeps it at {url}"),
        Stay::Full => format!("cookie `{name}` keeps it at {url}, which is full just now"),
        Stay::No => format!("cookie `{name}` names {url}, which is not asked"),
    })
}

/// Of `percent` of the traffic, what each backend gets; of services that a service is made of,
/// those that answer.
fn shares(service: &Service, percent: f64, now: Moment, all: &mut Vec<BackendShare>) {
    match &service.kind {
        Kind::Backends => own_shares(service, percent, now, all),
        Kind::Weighted(weighted) => {
            let weight = |(place, member): (usize, &Member)| match weighted.shares(place, now) {
                true => f64::from(member.weight),
                false => 0.0,
            };
            let sum: f64 = weighted.members.iter().enumerate().map(weight).sum();
            for (place, member) in weighted.members.iter().enumerate() {
                let Some(service) = &member.service else { continue };
                let part = if sum > 0.0 { weight((place, member)) / sum } else { 0.0 };
                shares(service, percent * part, now, all);
            }
        }
        Kind::Mirroring(mirroring) => shares(&mirroring.main, percent, now, all),
        Kind::Failover(failover) => {
            let (first, _) = failover.choose(now);
            for service in [&failover.main, &failover.fallback].into_iter().flatten() {
                let is_first = first.is_some_and(|first| std::ptr::eq(first, &**service));
                shares(service, if is_first { percent } else { 0.0 }, now, all);
            }
        }
    }
}

fn own_shares(service: &Service, percent: f64, now: Moment, all: &mut Vec<BackendShare>) {
    let rests = service.rests(now);
    let asked = service.asked(now);
    let weight = |backend: &Backend| match (asked.out(backend), rests) {
        (None, None) => f64::from(backend.weight),
        _ => 0.0,
    };
    let sum: f64 = service.backends.iter().map(weight).sum();
    all.extend(service.backends.iter().map(|backend| {
        let (failing, out) = (asked.failing(backend), asked.out(backend));
        let part = if sum > 0.0 { weight(backend) / sum } else { 0.0 };
        BackendShare {
            url: backend.url(),
            health: match &out {
                None if let Some(failing) = &failing => format!("{failing}, asked all the same"),
                None if rests.is_some() => format!("{}, at rest", backend.health.as_str()),
                None | Some(Out::Catalog(_)) => backend.health.as_str().to_owned(),
                Some(other) => other.to_string(),
            },
            usable: out.is_none() && rests.is_none(),
            failing: failing.is_some(),
            // At most 100, so it fits.
            // Few are not none.
            percent: match percent * part {
                few if few > 0.0 && few < 1.0 => 1,
                share => share as u32,
            },
            origin: (*backend.origin).to_owned(),
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::Arc,
    };

    use http::{HeaderMap, HeaderValue, header::COOKIE};
    use portolan_core::{
        balance::Cookie,
        item::Health,
        name::ObjectName,
        policy::{LoadBalancer, Sticky},
        service::{Scheme, Weighted},
    };

    use super::*;

    const ASKER: Asker = Asker { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), is_changed: false };

    fn sticky(name: &str) -> Sticky {
        Sticky { name: Some(name.into()), ..Sticky::default() }
    }

    fn service(name: &str, health: Health) -> Service {
        let backend = Backend {
            scheme: Scheme::Http,
            authority: "10.0.0.1:80".into(),
            path: None,
            weight: 1,
            health,
            origin: "test".into(),
            figures: Arc::default(),
        };
        let mut options = LoadBalancer { sticky: Some(sticky("inner")), ..LoadBalancer::default() };
        options.limits.max_requests_per_backend = Some(1);
        Service::new(ObjectName::new(name, "test"), options, vec![backend])
    }

    fn told(service: &Service, cookies: &[&Option<HeaderValue>]) -> Vec<String> {
        let line = |cookie: &&Option<HeaderValue>| {
            let line = cookie.as_ref().unwrap().to_str().unwrap();
            line.split(';').next().unwrap().to_owned()
        };
        let line = cookies.iter().map(line).collect::<Vec<_>>().join("; ");
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, line.parse().unwrap());
        share(service, &headers.into(), ASKER).stays
    }

    #[test]
    fn a_sticky_cookie_is_told_with_where_it_leads() {
        let (well, ill) = (service("well", Health::Passing), service("ill", Health::Critical));
        let inner = well.cookie.as_ref().unwrap().header(0);
        assert_eq!(told(&well, &[&inner]), ["cookie `inner` keeps it at http://10.0.0.1:80"]);
        let not = "cookie `inner` names http://10.0.0.1:80, which is not asked";
        assert_eq!(told(&ill, &[&inner]), [not]);
        assert!(share(&well, &Headers::default(), ASKER).stays.is_empty());
        let figures = well.backends[0].figures.clone();
        figures.in_flight.increment();
        assert!(told(&well, &[&inner])[0].ends_with("which is full just now"));
        figures.in_flight.decrement();
        let member = |service: Service| Member {
            name: service.name.clone(),
            weight: 1,
            service: Some(Arc::new(service)),
        };
        let members = vec![member(well), member(ill)];
        let names = members.iter().map(|member| member.name.to_string());
        let cookie = Cookie::new("both", &sticky("outer"), names);
        let (first, second) = (cookie.header(0), cookie.header(1));
        let weighted = Kind::Weighted(Weighted::new(members, false, Some(cookie)));
        let both = Service::of(ObjectName::new("both", "test"), weighted);
        let outer = "cookie `outer` keeps it at well@test";
        let inside = "cookie `inner` keeps it at http://10.0.0.1:80";
        assert_eq!(told(&both, &[&first, &inner]), [outer, inside]);
        let elsewhere = "cookie `outer` names ill@test, which is not asked";
        assert_eq!(told(&both, &[&second, &inner]), [elsewhere]);
    }
}
