//! What is wrong with tags, told once for all instances of a service that have it.
//!
//! The instances of a service are mostly registered alike, so what is wrong with one is wrong with
//! all of them.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::{HashMap, HashSet};

use crate::{
    catalog::{Registered, Slip, problem},
    problem::Problem,
};

/// Something wrong with the tags of instances.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(super) struct Charge {
    /// The place of the provider.
    source: u16,
    service: String,
    slip: Slip,
}

/// Which instances have what.
#[derive(Clone, Debug, Default)]
pub(super) struct Charges(HashMap<Arc<Charge>, BTreeSet<Arc<str>>>);

impl Charges {
    /// Takes in that an instance is another now, has come or is gone, and notes what is to be told
    /// anew.
    pub(super) fn take(
        &mut self,
        source: u16,
        was: Option<&Registered>,
        is: Option<&Registered>,
        touched: &mut HashSet<Arc<Charge>>,
    ) {
        if let (Some(was), Some(is)) = (was, is)
            && was.slips == is.slips
            && was.instance.service == is.instance.service
        {
            return;
        }
        for (charge, id) in was.into_iter().flat_map(|it| charges(source, it)) {
            if let Some(ids) = self.0.get_mut(&charge) {
                ids.remove(id);
            }
            touched.insert(charge);
        }
        for (charge, id) in is.into_iter().flat_map(|it| charges(source, it)) {
            self.0.entry(charge.clone()).or_default().insert(id.clone());
            touched.insert(charge);
        }
    }

    /// The one problem that it is of all instances that have it, at the first of them by id.
    pub(super) fn told(&mut self, charge: &Charge, provider: &str) -> Vec<Problem> {
        let ids = self.0.get(charge);
        let Some((first, count)) = ids.and_then(|ids| Some((ids.first()?, ids.len()))) else {
            self.0.remove(charge);
            return Vec::new();
        };
        let Slip { tag, flaw } = &charge.slip;
        let tag = tag.as_ref().map(|tag| format!(" tag {tag}")).unwrap_or_default();
        let others = match count - 1 {
            0 => String::new(),
            1 => ", and on one other instance".to_owned(),
            others => format!(", and on {others} other instances"),
        };
        vec![problem(provider, format!("{first}{tag}{others}"), flaw, "")]
    }
}

fn charges(source: u16, registered: &Registered) -> impl Iterator<Item = (Arc<Charge>, &Arc<str>)> {
    let charge = move |slip: &Slip| {
        let service = registered.instance.service.clone();
        (Arc::new(Charge { source, service, slip: slip.clone() }), &registered.id)
    };
    registered.slips.iter().map(charge)
}
