//! Resource records as they go over the wire, and their text.
//!
//! **Invariant:** a body made here is complete (owner, type, class, TTL, length, data) and its
//! owner is a pointer to the question, so it can be copied behind any question as it is.

use std::{fmt, net::IpAddr};

use super::name::{self, Name, Text};

/// The pointer to the name of the question: it always stands at byte 12 (RFC 1035, 4.1.4).
pub const QUESTION_POINTER: [u8; 2] = [0xc0, 0x0c];
/// How many bytes stand before the data of a body.
pub const BODY_HEAD: usize = 12;
const CLASS_IN: u16 = 1;
/// RFC 2181, 8: the top bit of a TTL is to be zero.
const MAX_TTL: u32 = i32::MAX as u32;

/// The type of a record.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// A name server.
    pub const NS: Self = Self(2);
    /// Another name for the same.
    pub const CNAME: Self = Self(5);
    /// The start of a zone.
    pub const SOA: Self = Self(6);
    /// The name of an address.
    pub const PTR: Self = Self(12);
    /// Where mail goes.
    pub const MX: Self = Self(15);
    /// Text.
    pub const TXT: Self = Self(16);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Where a service is.
    pub const SRV: Self = Self(33);
    /// Rules that make addresses of other names (RFC 3403).
    pub const NAPTR: Self = Self(35);
    /// The certificate of a service (RFC 6698).
    pub const TLSA: Self = Self(52);
    /// How a service is reached (RFC 9460).
    pub const SVCB: Self = Self(64);
    /// How a web site is reached (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// The options of EDNS (RFC 6891).
    pub const OPT: Self = Self(41);
    /// A question for the changes of a zone.
    pub const IXFR: Self = Self(251);
    /// A question for a whole zone.
    pub const AXFR: Self = Self(252);
    /// A question for whatever there is (RFC 8482).
    pub const ANY: Self = Self(255);
    /// Who may issue certificates.
    pub const CAA: Self = Self(257);

    const NAMES: [(Self, &'static str); 14] = [
        (Self::A, "A"),
        (Self::AAAA, "AAAA"),
        (Self::CNAME, "CNAME"),
        (Self::TXT, "TXT"),
        (Self::SRV, "SRV"),
        (Self::MX, "MX"),
        (Self::CAA, "CAA"),
        (Self::NS, "NS"),
        (Self::PTR, "PTR"),
        (Self::HTTPS, "HTTPS"),
        (Self::SVCB, "SVCB"),
        (Self::NAPTR, "NAPTR"),
        (Self::TLSA, "TLSA"),
        (Self::SOA, "SOA"),
    ];

    /// The types that a static record may have.
    pub(super) fn writable() -> impl Iterator<Item = (Self, &'static str)> {
        Self::NAMES.into_iter().filter(|(rtype, _)| *rtype != Self::SOA)
    }

    /// The type of the records that hold an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::A } else { Self::AAAA }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(rtype, _)| rtype == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0), // RFC 3597, 5
        }
    }
}

/// A complete record whose owner is the question.
pub(super) fn body(rtype: RecordType, ttl: u32, data: &[u8]) -> Vec<u8> {
    body_of(rtype, ttl, &[], data)
}

/// The same, of data in two parts.
fn body_of(rtype: RecordType, ttl: u32, head: &[u8], data: &[u8]) -> Vec<u8> {
    let length = head.len() + data.len();
    let mut body = Vec::with_capacity(BODY_HEAD + length);
    body.extend_from_slice(&QUESTION_POINTER);
    body.extend_from_slice(&rtype.0.to_be_bytes());
    body.extend_from_slice(&CLASS_IN.to_be_bytes());
    body.extend_from_slice(&ttl.min(MAX_TTL).to_be_bytes());
    body.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(head);
    body.extend_from_slice(data.get(..usize::from(u16::MAX) - head.len()).unwrap_or(data));
    body
}

/// An `A` or `AAAA` record.
pub(super) fn address(address: IpAddr, ttl: u32) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => body(RecordType::A, ttl, &address.octets()),
        IpAddr::V6(address) => body(RecordType::AAAA, ttl, &address.octets()),
    }
}

/// A record whose data is a name: `CNAME`, `NS`, `PTR`.
pub(super) fn pointer(rtype: RecordType, target: &Name, ttl: u32) -> Vec<u8> {
    body(rtype, ttl, target.as_bytes())
}

/// An `SRV` record of priority 1. The target is never compressed (RFC 2782).
pub(super) fn srv(weight: u16, port: u16, target: &Name, ttl: u32) -> Vec<u8> {
    let mut head = [0; 6];
    for (into, number) in head.chunks_exact_mut(2).zip([1, weight, port]) {
        into.copy_from_slice(&number.to_be_bytes());
    }
    body_of(RecordType::SRV, ttl, &head, target.as_bytes())
}

/// A `TXT` record of one text, cut into strings of 255 bytes.
pub(super) fn txt(text: &[u8], ttl: u32) -> Vec<u8> {
    let mut data = Vec::with_capacity(text.len() + 1 + text.len() / 255);
    for part in text.chunks(255) {
        data.push(part.len() as u8);
        data.extend_from_slice(part);
    }
    if text.is_empty() {
        data.push(0);
    }
    body(RecordType::TXT, ttl, &data)
}

/// A `SOA` record with Consul's times and a short life of negative answers.
pub(super) fn soa(mname: &[u8], rname: &[u8], serial: u32, negative_ttl: u32) -> Vec<u8> {
    let mut data = Vec::with_capacity(mname.len() + rname.len() + 20);
    data.extend_from_slice(mname);
    data.extend_from_slice(rname);
    for number in [serial, 3600, 600, 86_400, negative_ttl] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    body(RecordType::SOA, negative_ttl, &data)
}

/// The type of a body.
pub fn body_type(body: &[u8]) -> RecordType {
    RecordType(number(body, 2))
}

/// The TTL of a body, in seconds.
pub fn body_ttl(body: &[u8]) -> u32 {
    u32::from(number(body, 6)) << 16 | u32::from(number(body, 8))
}

/// The data of a body.
pub fn body_data(body: &[u8]) -> &[u8] {
    body.get(BODY_HEAD..).unwrap_or_default()
}

/// A body in presentation form, without its owner: `60 A 10.0.0.7`.
pub fn body_text(body: &[u8]) -> String {
    let (rtype, data) = (body_type(body), body_data(body));
    format!("{} {rtype} {}", body_ttl(body), Data(rtype, data))
}

/// Record data in presentation form (RFC 1035, 5.1; RFC 3597 for types without one).
struct Data<'a>(RecordType, &'a [u8]);

impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.1;
        let rest = |from: usize| data.get(from..).unwrap_or_default();
        match self.0 {
            RecordType::A => match <[u8; 4]>::try_from(data) {
                Ok(octets) => write!(f, "{}", IpAddr::from(octets)),
                Err(_) => unknown(f, data),
            },
            RecordType::AAAA => match <[u8; 16]>::try_from(data) {
                Ok(octets) => write!(f, "{}", IpAddr::from(octets)),
                Err(_) => unknown(f, data),
            },
            RecordType::CNAME | RecordType::NS | RecordType::PTR => write!(f, "{}.", Root(data)),
            RecordType::MX => write!(f, "{} {}.", number(data, 0), Root(rest(2))),
            RecordType::SRV => {
                let [priority, weight, port] = [0, 2, 4].map(|at| number(data, at));
                write!(f, "{priority} {weight} {port} {}.", Root(rest(6)))
            }
            RecordType::TXT => strings(f, data),
            RecordType::CAA => {
                let flags = data.first().copied().unwrap_or_default();
                let length = data.get(1).copied().unwrap_or_default();
                let (tag, value) =
                    rest(2).split_at_checked(usize::from(length)).unwrap_or_default();
                write!(f, "{flags} {} ", String::from_utf8_lossy(tag))?;
                quoted(f, value)
            }
            RecordType::SOA => {
                let mname = name::labels(data).map(|label| label.len() + 1).sum::<usize>() + 1;
                let rname =
                    name::labels(rest(mname)).map(|label| label.len() + 1).sum::<usize>() + 1;
                write!(f, "{}. {}.", Root(data), Root(rest(mname)))?;
                for field in 0..5 {
                    let at = mname + rname + field * 4;
                    let value = u32::from(number(data, at)) << 16 | u32::from(number(data, at + 2));
                    write!(f, " {value}")?;
                }
                Ok(())
            }
            _ => unknown(f, data),
        }
    }
}

/// A name to which a dot is added; the root is the dot alone.
struct Root<'a>(&'a [u8]);

impl fmt::Display for Root<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if name::parent(self.0).is_none() { Ok(()) } else { Text(self.0).fmt(f) }
    }
}

fn strings(f: &mut fmt::Formatter<'_>, mut data: &[u8]) -> fmt::Result {
    let mut separator = "";
    while let Some((&length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
        f.write_str(separator)?;
        quoted(f, text)?;
        separator = " ";
        data = rest;
    }
    Ok(())
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for byte in text {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
            0x20..=0x7e => write!(f, "{}", char::from(*byte))?,
            other => write!(f, "\\{other:03}")?,
        }
    }
    f.write_str("\"")
}

fn unknown(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    write!(f, "\\# {}", data.len())?;
    data.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
}

fn number(bytes: &[u8], at: usize) -> u16 {
    let pair = bytes.get(at..at + 2).and_then(|pair| pair.try_into().ok());
    u16::from_be_bytes(pair.unwrap_or_default())
}
