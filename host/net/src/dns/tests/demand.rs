//! Names of ours that a source is asked for.

use std::{
    collections::BTreeSet,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};
use portolan_core::{
    item::{Found, Instance},
    snapshot::Snapshot,
    zone::{Edges, Name, Names, ZoneConfig, ZoneOptions},
};

use super::{
    super::{Finder, Forwarding, Sought},
    answers,
    fake::{FakeUpstream, Listening, Mood, asking, locally, outcome},
    zones,
};

/// A source that finds instances with these addresses, whatever it is asked for.
pub(super) struct Source {
    snapshot: Arc<Snapshot>,
    addresses: Vec<String>,
}

impl Source {
    pub(super) fn of(addresses: &[&str]) -> Arc<Self> {
        let addresses = addresses.iter().map(|&it| it.to_owned()).collect();
        let snapshot = Snapshot { zones: zones(&Edges::default()), ..Snapshot::default() };
        Arc::new(Self { snapshot: Arc::new(snapshot), addresses })
    }
}

impl Finder for Source {
    fn is_ready(&self) -> bool {
        true
    }

    fn served(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    fn find(&self, name: &[u8]) -> Pin<Box<dyn Future<Output = Option<Sought>> + Send>> {
        let instance = |(place, address): (usize, &String)| {
            Arc::new(Instance {
                id: format!("z{}", 99 - place),
                service: "db".to_owned(),
                datacenter: "dc2".to_owned(),
                address: address.clone(),
                port: 1,
                weight_passing: 1,
                ..Instance::default()
            })
        };
        // Nothing leads to itself.
        let others = |address: &&String| Name::parse(address).unwrap().as_bytes() != name;
        let instances = self.addresses.iter().filter(others).enumerate().map(instance).collect();
        let found = Found { instances, ttl: Some(60), ..Found::default() };
        let (origin, options) = ("consul".to_owned(), ZoneOptions::default());
        let zone = ZoneConfig { origin, names: Names::Consul, ttl: 5, options };
        let sought = self.snapshot.zones.demand(name).map(|demand| Sought {
            zones: demand.zones(&zone, Some(found)),
            is_ranked: demand.is_ranked(),
            name: demand.name,
        });
        Box::pin(ready(sought))
    }
}

#[tokio::test]
async fn results_of_a_query_stand_as_they_were_found() {
    locally(async {
        let ranked = ["10.7.0.9", "10.7.0.3", "10.7.0.8", "10.7.0.1", "10.7.0.5"];
        let listening = Listening::with(Forwarding::default());
        listening.world.forwarding.look_up_with(Source::of(&ranked));
        // Kept, so the second comes from the cache.
        for _ in 0..2 {
            assert_eq!(answers(&listening.ask("near.query.consul.").await), ranked);
        }
    })
    .await;
}

// As those of our own datacenter are.
#[tokio::test]
async fn what_is_in_another_datacenter_stands_in_another_order_each_time() {
    locally(async {
        let listening = Listening::with(Forwarding::default());
        let addresses = ["10.7.0.9", "10.7.0.3", "10.7.0.8", "10.7.0.1"];
        listening.world.forwarding.look_up_with(Source::of(&addresses));
        let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..200 {
            let told = answers(&listening.ask("db.service.dc2.consul.").await);
            first.insert(told[0].clone());
            second.insert(told[1].clone());
            assert_eq!(BTreeSet::from_iter(&told).len(), addresses.len());
        }
        assert_eq!((first.len(), second.len()), (addresses.len(), addresses.len()));
        first.clear();
        for _ in 0..200 {
            let reply = listening.ask_for("db.service.dc2.consul.", RecordType::SRV).await;
            first.insert(reply.answers[0].data.to_string());
            // Each address is still that of its target.
            assert_eq!((reply.answers.len(), reply.additionals.len()), (4, 4));
            for record in &reply.additionals {
                let RData::A(address) = &record.data else { panic!("{record}") };
                let spelled = address.octets().map(|octet| format!("{octet:02x}")).concat();
                assert_eq!(record.name.to_ascii(), format!("{spelled}.addr.dc2.consul."));
                let target = record.name.to_ascii();
                assert!(answers(&reply).iter().any(|srv| srv.ends_with(&target)), "{reply}");
            }
        }
        assert_eq!(first.len(), addresses.len());
    })
    .await;
}

#[tokio::test]
async fn a_name_that_leads_outside_is_followed() {
    locally(Box::pin(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(asking(&[&upstream]));
        listening.world.forwarding.look_up_with(Source::of(&["db.example.com"]));
        for _ in 0..2 {
            let reply = listening.ask("db.query.consul.").await;
            assert_eq!(answers(&reply), ["db.example.com.", "203.0.113.1", "203.0.113.2"]);
            assert_eq!(reply.answers[1].ttl, 30);
        }
        assert_eq!(upstream.asked.get(), 1);
        // What is ours is known, and not told to others.
        upstream.mood.set(Mood::SaysNo);
        let listening = Listening::with(asking(&[&upstream]));
        listening.world.forwarding.look_up_with(Source::of(&["nothing.home.arpa"]));
        let reply = listening.ask("db.query.consul.").await;
        assert_eq!(outcome(&reply), (ResponseCode::NXDomain, 1));
        assert_eq!(reply.authorities.len(), 1);
        for (target, address) in
            [("box.home.arpa", "192.168.7."), ("one.service.consul", "10.1.0.0")]
        {
            let listening = Listening::with(Forwarding::default());
            listening.world.forwarding.look_up_with(Source::of(&[target]));
            let reply = listening.ask("db.query.consul.").await;
            let told = answers(&reply);
            assert_eq!(told[0], format!("{target}."));
            assert!(told[1].starts_with(address), "{told:?}");
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        }
        assert_eq!(upstream.asked.get(), 1);
    }))
    .await;
}

/// Two names that lead to each other.
#[tokio::test]
async fn who_leads_in_circles_keeps_nobody_waiting() {
    locally(async {
        let listening = Listening::with(Forwarding::default());
        listening
            .world
            .forwarding
            .look_up_with(Source::of(&["ping.query.consul", "pong.query.consul"]));
        let reply = listening.ask("ping.query.consul.").await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(answers(&reply).len() > 1, "{reply:?}");
    })
    .await;
}
