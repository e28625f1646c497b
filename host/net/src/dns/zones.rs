//! How often each zone was asked.

use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::{
    figure::Counter,
    zone::{Text, Zones},
};

use super::{figures::DnsFigures, message::Rcode};

/// What one worker has answered from one zone.
#[derive(Debug, Default)]
pub struct ZoneFigures {
    /// Questions about names in it.
    pub questions: Counter,
    /// Those of them whose name does not exist.
    pub no_such_name: Counter,
}

/// The figures of every zone that a worker has known, by its name. A zone that is taken out and
/// comes back goes on counting.
#[derive(Debug, Default)]
pub struct ZonesFigures(Mutex<Vec<(String, Arc<ZoneFigures>)>>);

impl ZonesFigures {
    /// Each zone with its figures as they are now.
    pub fn all(&self) -> Vec<(String, Arc<ZoneFigures>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn of(&self, origin: &[u8]) -> Arc<ZoneFigures> {
        let name = Text(origin).to_string();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, figures)) = known.iter().find(|(known, _)| *known == name) {
            return figures.clone();
        }
        let figures = Arc::<ZoneFigures>::default();
        known.push((name, figures.clone()));
        figures
    }
}

/// The figures of the zones as they are now, by their places.
#[derive(Debug, Default)]
pub(super) struct ZoneCounts {
    places: Vec<(Arc<[u8]>, Arc<ZoneFigures>)>,
}

impl ZoneCounts {
    /// Makes sure that places mean the zones of a snapshot. Zones hardly ever change.
    pub(super) fn follow(&mut self, zones: &Zones, figures: &DnsFigures) {
        let origins = || zones.origins();
        let known = self.places.iter().map(|(origin, _)| origin);
        if !origins().eq(known) {
            let place = |origin: &Arc<[u8]>| (origin.clone(), figures.zones.of(origin));
            self.places = origins().map(place).collect();
        }
    }

    pub(super) fn count(&self, place: usize, rcode: Rcode) {
        if let Some((_, zone)) = self.places.get(place) {
            zone.questions.increment();
            if rcode == Rcode::NO_SUCH_NAME {
                zone.no_such_name.increment();
            }
        }
    }
}
