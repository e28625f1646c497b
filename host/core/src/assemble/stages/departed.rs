//! Who is not there any more, and who is there again.

use crate::{
    departed::{Departed, Left},
    router::Router,
    service::{Kind, Service},
    snapshot::Snapshot,
};

/// The routers and the services whose figures are still to be told, after those of the snapshot before.
pub(super) fn departed(previous: &Snapshot, next: &Snapshot) -> [Departed; 2] {
    let [mut routers, mut services] =
        [&previous.departed_routers, &previous.departed_services].map(Clone::clone);
    routers.forget_told();
    services.forget_told();
    for (before, after) in previous.routers.differences(&next.routers) {
        let [before, after] = [before, after].map(|entry| entry.and_then(|it| it.live.as_ref()));
        match (before, after) {
            (_, Some(router)) => routers.remove(&router.name),
            (Some(router), None) => routers.add(router_left(router)),
            (None, None) => (),
        }
    }
    for (before, after) in previous.services.differences(&next.services) {
        let [before, after] = [before, after].map(|entry| entry.and_then(|it| it.live.as_ref()));
        match (before, after) {
            (_, Some(service)) => services.remove(&service.name),
            (Some(service), None) => services.add(service_left(service)),
            (None, None) => (),
        }
    }
    [routers, services]
}

fn router_left(router: &Router) -> Left {
    let mut left = Left::new(router.name.clone(), router.figures.clone());
    left.service = router.service.as_ref().map(|service| service.name.clone());
    left
}

fn service_left(service: &Service) -> Left {
    let mut left = Left::new(service.name.clone(), service.figures.clone());
    left.has_backends = matches!(service.kind, Kind::Backends);
    left
}
