//! The table that everybody knows (RFC 7541, Appendix A).

use super::hash;

/// How many entries it has; the dynamic table is counted on from there.
pub(super) const COUNT: usize = FIELDS.len();
/// `:status: 200`, the first of the entries for a status.
pub(super) const STATUS: u8 = 8;
/// The entries up to here are pseudo headers, of which some have the same name.
const LAST_PSEUDO: usize = 14;

/// Names and values. The first has index 1.
static FIELDS: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Where the names are by their hashes, no two in one place.
static PLACES: Places = Places::found();

struct Places {
    /// Makes the hashes of all names differ in their highest eight bits.
    factor: u64,
    /// The first index of a name, or 0.
    slots: [u8; 256],
}

impl Places {
    const fn found() -> Self {
        let hashes = hashes();
        let mut factor = 1;
        loop {
            if let Some(slots) = slots(&hashes, factor) {
                return Self { factor, slots };
            }
            factor += 2;
        }
    }
}

const fn hashes() -> [u64; COUNT] {
    let (mut hashes, mut at) = ([0; COUNT], 0);
    while at < COUNT {
        hashes[at] = hash::of_name(FIELDS[at].0.as_bytes()).0;
        at += 1;
    }
    hashes
}

const fn slots(hashes: &[u64; COUNT], factor: u64) -> Option<[u8; 256]> {
    let (mut slots, mut at) = ([0; 256], 0);
    while at < COUNT {
        // Those of one name stand together.
        if at == 0 || hashes[at] != hashes[at - 1] {
            let slot = slot(hashes[at], factor);
            if slots[slot] != 0 {
                return None;
            }
            slots[slot] = at as u8 + 1;
        }
        at += 1;
    }
    Some(slots)
}

const fn slot(hash: u64, factor: u64) -> usize {
    (hash.wrapping_mul(factor) >> 56) as usize
}

/// The field with this index, from 1 on.
#[inline]
pub(super) fn field(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    let (name, value) = FIELDS.get(index.wrapping_sub(1))?;
    Some((name.as_bytes(), value.as_bytes()))
}

/// The first index of a name in lower case, whose hash this is.
#[inline]
pub(super) fn find(hash: u64, name: &[u8]) -> Option<u8> {
    let index = *PLACES.slots.get(slot(hash, PLACES.factor))?;
    let (known, _) = field(usize::from(index))?;
    (known == name).then_some(index)
}

/// The index of a field whose name has `first` as its first one.
#[inline]
pub(super) fn find_value(first: u8, value: &[u8]) -> Option<usize> {
    let first = usize::from(first);
    let (name, known) = field(first)?;
    if known == value {
        return Some(first);
    }
    (first + 1..=LAST_PSEUDO).find(|index| field(*index) == Some((name, value)))
}
