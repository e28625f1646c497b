//! What was tried for one request. The first 64 places take no allocation.

/// The backends that were tried for one request.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    first: u64,
    others: Vec<usize>,
}

impl Tried {
    /// Notes a backend.
    pub fn insert(&mut self, place: usize) {
        match bit(place) {
            Some(bit) => self.first |= bit,
            None => self.others.push(place),
        }
    }

    /// Whether a backend was tried.
    pub fn contains(&self, place: usize) -> bool {
        match bit(place) {
            Some(bit) => self.first & bit != 0,
            None => self.others.contains(&place),
        }
    }

    /// Whether none was tried.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.others.is_empty()
    }
}

fn bit(place: usize) -> Option<u64> {
    u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place))
}
