//! Why instances are left out: few reasons for many instances, each kept once.

use std::{collections::HashSet, sync::Arc};

use crate::item::{Change, Instance, Item, Update};

/// What is more than this is not one of few.
const MOST: usize = 256;

/// The reasons that a provider gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(HashSet<Arc<str>>);

impl Reasons {
    /// The same update, in which equal reasons are one.
    pub(super) fn shared(&mut self, mut update: Update) -> Update {
        match &mut update {
            Update::Unchanged => (),
            Update::Snapshot(items) | Update::Excerpt { items, .. } => {
                items.iter_mut().for_each(|item| self.share(item))
            }
            Update::Delta(changes) => {
                for change in changes {
                    if let Change::Put(item) = change {
                        self.share(item);
                    }
                }
            }
        }
        update
    }

    fn share(&mut self, item: &mut Item) {
        // It has just come, so nobody else has it.
        if let Item::Instance(instance) = item
            && let Some(Instance { edge_reason: Some(reason), .. }) = Arc::get_mut(instance)
        {
            match self.0.get(&**reason) {
                Some(known) => *reason = known.clone(),
                None => {
                    if self.0.len() >= MOST {
                        self.0.clear();
                    }
                    self.0.insert(reason.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_reasons_are_one() {
        let instance = |id: &str, reason: &str| {
            let instance = Instance {
                id: id.to_owned(),
                edge_reason: Some(reason.into()),
                ..Instance::default()
            };
            Item::Instance(Arc::new(instance))
        };
        let mut reasons = Reasons::default();
        let snapshot =
            reasons.shared(Update::Snapshot(vec![instance("a", "x"), instance("b", "x")]));
        let delta = reasons.shared(Update::Delta(vec![Change::Put(instance("c", "x"))]));
        let (Update::Snapshot(items), Update::Delta(changes)) = (snapshot, delta) else { panic!() };
        let Change::Put(put) = &changes[0] else { panic!() };
        let reason = |item: &Item| match item {
            Item::Instance(it) => it.edge_reason.clone().unwrap(),
            other => panic!("{other:?}"),
        };
        let first = reason(&items[0]);
        assert!([&items[1], put].iter().all(|item| Arc::ptr_eq(&first, &reason(item))));
        // One that is another for each instance is not kept for ever.
        for number in 0..2 * MOST {
            reasons.share(&mut instance("d", &number.to_string()));
        }
        assert!(reasons.0.len() <= MOST);
    }
}
