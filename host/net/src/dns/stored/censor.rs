//! What is taken out of answers: nobody outside can truly say that a name is inside.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Message;
use portolan_core::zone::RecordType;

use super::{
    super::message::{HEADER, flag, plain_name_end},
    Place, Stored, rtype_of,
};

impl Stored {
    /// Takes out addresses that lie in networks of ours, and tells whether there were any: a name
    /// outside that leads inside is how pages from elsewhere reach what is not meant for them.
    pub(in crate::dns) fn without_private(&mut self, may_be_loopback: bool) -> bool {
        let wire = &self.wire;
        let is_private = |place: &Place| {
            let data = wire.get(usize::from(place.ttl_at) + 6..usize::from(place.end));
            data.zip(rtype_of(wire, place))
                .is_some_and(|(data, rtype)| is_inside(rtype, data, may_be_loopback))
        };
        let private: Vec<bool> = self.records.iter().map(is_private).collect();
        if !private.contains(&true) {
            return false;
        }
        // Names may point into what is taken out, so the message is written anew; one that cannot be
        // is worth nothing.
        let kept = self.rewritten(&private);
        let (wire, records) = kept.map_or_else(Default::default, |it| (it.wire, it.records));
        (self.wire, self.records, self.is_censored) = (wire, records, true);
        // It is no longer what was checked.
        self.flags &= !flag::AUTHENTIC;
        true
    }

    /// The same message without some of its records.
    fn rewritten(&self, without: &[bool]) -> Option<Self> {
        let mut message = Message::from_vec(&self.wire).ok()?;
        let mut left = without.iter();
        let mut keeps = || left.next() != Some(&true);
        message.answers.retain(|_| keeps());
        message.authorities.retain(|_| keeps());
        message.additionals.retain(|_| keeps());
        let end = plain_name_end(&self.wire, HEADER)?;
        Self::parse(&message.to_vec().ok()?, self.wire.get(HEADER..end)?, self.rtype).ok()
    }
}

/// Whether an address is one that only networks of ours have.
fn is_inside(rtype: RecordType, data: &[u8], may_be_loopback: bool) -> bool {
    let v4 = |address: Ipv4Addr| {
        address.is_private()
            || address.is_link_local()
            || address.octets()[0] == 0
            || address.is_loopback() && !may_be_loopback
    };
    match rtype {
        RecordType::A => data.try_into().is_ok_and(|octets: [u8; 4]| v4(Ipv4Addr::from(octets))),
        RecordType::AAAA => data.try_into().is_ok_and(|octets: [u8; 16]| {
            let address = Ipv6Addr::from(octets);
            match address.to_ipv4_mapped() {
                Some(mapped) => v4(mapped),
                None => {
                    address.is_unique_local()
                        || address.is_unicast_link_local()
                        || address.is_unspecified()
                        || address.is_loopback() && !may_be_loopback
                }
            }
        }),
        _ => false,
    }
}
