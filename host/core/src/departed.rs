//! Objects that are not served any more, and of which the last figures were not told yet.
//!
//! Whoever scrapes comes now and then; what was counted since would be gone with the object. So its
//! figures stay until they were told once, as in Traefik, or until an object of that name is there
//! again, which goes on with them.
//!
//! **Invariant:** at most [`MOST`] of a kind are kept, and of each nothing but its figures.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{figure::TrafficFigures, name::ObjectName, roll::Roll};

/// So many of a kind wait to be told; nobody may ever ask. What comes beyond is lost.
pub const MOST: usize = 1000;

/// An object that is not there any more.
#[derive(Debug)]
pub struct Left {
    /// What it was called.
    pub name: ObjectName,
    /// Of a router: where its requests went; `None`: there is none, or it is a service.
    pub service: Option<ObjectName>,
    /// Whether it is a service that had backends of its own.
    pub has_backends: bool,
    /// What it has done.
    pub figures: Arc<TrafficFigures>,
    is_told: AtomicBool,
}

/// Those of one kind. A copy shares them, and whether they were told.
#[derive(Clone, Debug, Default)]
pub struct Departed(Roll<ObjectName, Arc<Left>>);

impl Left {
    /// An object that is to be told of.
    pub fn new(name: ObjectName, figures: Arc<TrafficFigures>) -> Self {
        let is_told = AtomicBool::new(false);
        Self { name, service: None, has_backends: false, figures, is_told }
    }

    fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }
}

impl Departed {
    /// Those that nobody was told of; each once.
    pub fn tell(&self) -> Vec<Arc<Left>> {
        let first = |left: &&Arc<Left>| !left.is_told.swap(true, Ordering::Relaxed);
        self.0.values().filter(first).cloned().collect()
    }

    /// What an object of this name goes on with; `None`: it begins.
    pub fn figures(&self, name: &ObjectName) -> Option<Arc<TrafficFigures>> {
        let left = self.0.get(name).filter(|left| !left.is_told())?;
        Some(left.figures.clone())
    }

    /// Forgets those of whom somebody was told.
    pub(crate) fn forget_told(&mut self) {
        let told = self.0.values().filter(|left| left.is_told());
        let told = told.map(|left| (left.name.clone(), None)).collect();
        self.0.update(told);
    }

    /// It is there again.
    pub(crate) fn remove(&mut self, name: &ObjectName) {
        self.0.remove(name);
    }

    /// It is not there any more. One that did nothing is not noted.
    pub(crate) fn add(&mut self, left: Left) {
        if left.figures.is_used() && self.0.len() < MOST {
            self.0.insert(left.name.clone(), Arc::new(left));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::figure::{Answer, Buckets};

    fn left(name: &str) -> Left {
        let figures = TrafficFigures::default();
        let answer = Answer::plain(StatusCode::OK, 1);
        figures.shard(0).record(&answer, &Buckets::default());
        Left::new(ObjectName::new(name, "file"), figures.into())
    }

    fn told(departed: &Departed) -> Vec<String> {
        departed.tell().iter().map(|left| left.name.to_string()).collect()
    }

    #[test]
    fn each_is_told_once_also_to_who_reads_another_copy() {
        let mut departed = Departed::default();
        departed.add(left("a"));
        let copy = departed.clone();
        departed.add(left("b"));
        assert_eq!(told(&copy), ["a@file"]);
        assert_eq!(told(&departed), ["b@file"]);
        assert!(told(&departed).is_empty());
        assert!(departed.figures(&ObjectName::new("a", "file")).is_none());
        departed.forget_told();
        assert!(departed.0.is_empty());
    }

    #[test]
    fn there_is_an_end_of_what_is_kept() {
        let mut departed = Departed::default();
        departed.add(Left::new(ObjectName::new("idle", "file"), Arc::default()));
        assert!(departed.0.is_empty(), "it has nothing to tell");
        (0..MOST + 10).for_each(|number| departed.add(left(&format!("s{number}"))));
        assert_eq!(departed.0.len(), MOST);
    }
}
