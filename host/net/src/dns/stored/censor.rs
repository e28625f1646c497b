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
        // Browsers go where the hints say (RFC 9460, 7.3).
        RecordType::SVCB | RecordType::HTTPS => {
            hints(data).any(|(rtype, address)| is_inside(rtype, address, may_be_loopback))
        }
        _ => false,
    }
}

/// The addresses that a record of type SVCB or HTTPS hints at: behind its priority and target, each
/// parameter has a number and a length (RFC 9460, 2.2).
fn hints(data: &[u8]) -> impl Iterator<Item = (RecordType, &[u8])> {
    let mut rest = data.get(2..).and_then(behind_name).unwrap_or_default();
    let parameters = std::iter::from_fn(move || {
        let (key, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some((u16::from_be_bytes(*key), value))
    });
    parameters.flat_map(|(key, value)| {
        let (rtype, size) = match key {
            4 => (RecordType::A, 4),
            6 => (RecordType::AAAA, 16),
            _ => (RecordType::ANY, value.len().max(1)),
        };
        value.chunks(size).map(move |address| (rtype, address))
    })
}

/// What stands behind a name that is not compressed.
fn behind_name(mut data: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = data.split_first()?;
        data = rest.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_of_a_record_for_browsers_are_addresses() {
        let record = |parameters: &[&[u8]]| {
            let head: &[u8] = b"\0\x01\x03www\0";
            [&[head], parameters].concat().concat()
        };
        let alpn: &[u8] = b"\0\x01\0\x03\x02h2";
        let public: &[u8] = b"\0\x04\0\x04\x08\x08\x08\x08";
        let private: &[u8] = b"\0\x04\0\x08\x08\x08\x08\x08\xc0\xa8\x01\x01";
        let local: &[u8] = b"\0\x06\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
        for (parameters, expected) in [
            (&[][..], false),
            (&[alpn, public][..], false),
            (&[alpn, private][..], true),
            (&[alpn, public, local][..], true),
            (&[&private[..6]][..], false),
        ] {
            let data = record(parameters);
            assert_eq!(is_inside(RecordType::HTTPS, &data, false), expected, "{data:?}");
        }
        for broken in [&b""[..], b"\0", b"\0\x01\x3f"] {
            assert!(!is_inside(RecordType::SVCB, broken, false));
        }
    }
}
