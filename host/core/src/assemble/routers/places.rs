//! On which entrypoints a router is.

use std::sync::Arc;

use super::{Draft, Entrypoint};
use crate::name::nearest;

/// The entrypoints of a router, the key that decides about them, and what is wrong with them and what to do
/// about it.
type Places = (Vec<Arc<str>>, &'static str, Vec<(String, Option<String>)>);

impl Draft<'_> {
    /// Those it names, else those that are there for all; one with `tls` only those that are encrypted.
    /// Without any, no request comes to it.
    pub(super) fn entrypoints(&mut self) -> Vec<Arc<str>> {
        let all = self.surroundings.entrypoints;
        let (entrypoints, key, mut wrong) = match self.object.spec.entrypoints.is_empty() {
            true => self.usual_entrypoints(all),
            false => self.named_entrypoints(all),
        };
        let is_nowhere = entrypoints.is_empty();
        if is_nowhere && let Some((message, _)) = wrong.last_mut() {
            message.push_str(", so no request comes to it");
        }
        for (message, hint) in wrong {
            // Where no HTTP is served at all, that is meant so.
            self.complain(key, message, hint, is_nowhere && !all.is_empty());
        }
        entrypoints
    }

    /// Whether it can be on an entrypoint.
    fn fits(&self, entrypoint: &Entrypoint) -> bool {
        match self.object.spec.tls {
            Some(_) => entrypoint.tls,
            None => !entrypoint.tls || entrypoint.takes_plain,
        }
    }

    fn usual_entrypoints(&self, all: &[Entrypoint]) -> Places {
        let has_defaults = all.iter().any(|entrypoint| entrypoint.is_default);
        let usual = || all.iter().filter(|entrypoint| entrypoint.is_default || !has_defaults);
        let fitting = usual().filter(|entrypoint| self.fits(entrypoint));
        let entrypoints: Vec<_> = fitting.map(|entrypoint| entrypoint.name.clone()).collect();
        // Where no HTTP is served at all, nobody wonders.
        if !entrypoints.is_empty() || all.is_empty() {
            return (entrypoints, "tls", Vec::new());
        }
        let whose = match has_defaults {
            true => {
                let names: Vec<_> = usual().map(|it| format!("`{}`", it.name)).collect();
                format!("none of those that are `as-default` ({})", names.join(", "))
            }
            false => "no entrypoint".to_owned(),
        };
        let message = match self.object.spec.tls {
            Some(_) => format!("the router wants TLS, but {whose} has it"),
            None => format!("the router is without `tls`, and {whose} takes such"),
        };
        let other = all.iter().find(|entrypoint| self.fits(entrypoint));
        let hint = other.map(|it| format!("name an entrypoint: `entrypoints = [\"{}\"]`", it.name));
        (entrypoints, "tls", vec![(message, hint)])
    }

    fn named_entrypoints(&self, all: &[Entrypoint]) -> Places {
        let (mut entrypoints, mut wrong) = (Vec::new(), Vec::new());
        for wanted in &self.object.spec.entrypoints {
            match all.iter().find(|entrypoint| *entrypoint.name == **wanted) {
                Some(entrypoint) if self.fits(entrypoint) => {
                    entrypoints.push(entrypoint.name.clone());
                }
                Some(_) => {
                    let message = match self.object.spec.tls {
                        Some(_) => {
                            format!(
                                "the router wants TLS, which entrypoint `{wanted}` does not have"
                            )
                        }
                        None => format!("entrypoint `{wanted}` takes routers with `tls` only"),
                    };
                    wrong.push((message, None));
                }
                None => {
                    let known = all.iter().map(|entrypoint| &*entrypoint.name);
                    let hint = nearest(wanted, known).map(|n| format!("did you mean `{n}`?"));
                    wrong.push((format!("there is no entrypoint `{wanted}`"), hint));
                }
            }
        }
        (entrypoints, "entrypoints", wrong)
    }
}
