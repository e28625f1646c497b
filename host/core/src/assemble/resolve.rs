//! What a reference such as `auth@file` means.
//!
//! Without `@` it is looked for at its own provider, then in `config.toml`. The names that Traefik
//! gives its providers are understood, so that tags written for it work unchanged.
//!
//! A directory also knows who refers to what, be it there or not: when a name comes or goes, those
//! who may mean it are found without asking everybody.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet, hash_map::Entry};

use crate::{
    catalog::Source,
    name::{ObjectName, Word, fold},
};

/// The provider name of `config.toml`.
pub const CONFIG: &str = "config";

/// The provider name of what is ours: Traefik's internal services.
pub const INTERNAL: &str = "internal";

/// The internal services. (`noop@internal` is no service at all.)
pub const INTERNAL_SERVICES: [&str; 4] = ["api", "dashboard", "ping", "prometheus"];

/// A provider, and the plugin that it is a use of.
pub(super) type Provider = (Arc<str>, Arc<str>);

/// Providers, in their order.
pub(super) fn providers<'a>(sources: impl Iterator<Item = &'a Source>) -> Vec<Provider> {
    sources.map(|source| (source.provider.clone(), source.plugin.clone())).collect()
}

/// A reference, with where it leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Link {
    /// The name that is looked for, in lower case.
    wanted: Arc<str>,
    pub(super) end: End,
}

/// Where a reference leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// To this object.
    There(ObjectName),
    /// Nowhere.
    Missing(Missing),
}

/// A name that is not there.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Missing {
    /// The name that was looked for.
    pub(super) looked: ObjectName,
    /// Whether the reference names the provider.
    explicit: bool,
}

/// What the objects of a directory are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sort {
    #[default]
    Services,
    Middlewares,
    Transports,
}

/// Every object of one sort, by name, and who refers to which.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    sort: Sort,
    /// By the name in lower case.
    names: HashMap<Arc<str>, Vec<ObjectName>>,
    /// Who refers to a name, in lower case, of whatever provider.
    wanted: HashMap<Arc<str>, Users>,
    /// Who refers to what is not there.
    missing: HashMap<Missing, Users>,
    /// What was probably meant by what is not there, as far as somebody asked.
    meant: HashMap<Missing, Option<String>>,
}

/// Who refers to something. Mostly it is one.
#[derive(Clone, Debug)]
enum Users {
    One(ObjectName),
    Many(HashSet<ObjectName>),
}

impl Users {
    fn insert(&mut self, user: &ObjectName) {
        match self {
            Self::One(known) if known == user => (),
            Self::One(known) => *self = Self::Many([known.clone(), user.clone()].into()),
            Self::Many(users) => drop(users.insert(user.clone())),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &ObjectName> {
        let (one, many) = match self {
            Self::One(user) => (Some(user), None),
            Self::Many(users) => (None, Some(users)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Answers whether nobody is left.
    fn remove(&mut self, user: &ObjectName) -> bool {
        match self {
            Self::One(known) => known == user,
            Self::Many(users) => {
                users.remove(user);
                users.is_empty()
            }
        }
    }
}

fn note<K: Eq + std::hash::Hash + Clone>(
    users: &mut HashMap<K, Users>,
    key: &K,
    user: &ObjectName,
) {
    match users.entry(key.clone()) {
        Entry::Occupied(mut there) => there.get_mut().insert(user),
        Entry::Vacant(free) => drop(free.insert(Users::One(user.clone()))),
    }
}

fn lower(name: &Arc<str>) -> Arc<str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.clone(),
    }
}

impl Directory {
    /// One that nothing is in yet.
    pub(super) fn of(sort: Sort) -> Self {
        Self { sort, ..Self::default() }
    }

    /// So many objects come at once; about as many refer to them.
    pub(super) fn make_room(&mut self, objects: usize) {
        self.names.reserve(objects);
        self.wanted.reserve(objects);
    }

    /// There is an object of this name now. Answers who may have to do with it.
    pub(super) fn add(&mut self, name: &ObjectName, providers: &[Provider]) -> Vec<ObjectName> {
        let key = lower(&name.name);
        // Mostly there is one.
        let named = self.names.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1));
        named.push(name.clone());
        self.concerned(&key, name, providers)
    }

    /// The object of this name is gone. Answers who may have to do with it.
    pub(super) fn remove(&mut self, name: &ObjectName, providers: &[Provider]) -> Vec<ObjectName> {
        let key = lower(&name.name);
        if let Entry::Occupied(mut named) = self.names.entry(key.clone()) {
            named.get_mut().retain(|known| known != name);
            if named.get().is_empty() {
                named.remove();
            }
        }
        self.concerned(&key, name, providers)
    }

    /// Those who refer to the name, and those whose hint may be another now.
    fn concerned(
        &mut self,
        key: &str,
        name: &ObjectName,
        providers: &[Provider],
    ) -> Vec<ObjectName> {
        let wanted = self.wanted.get(key);
        let mut concerned: Vec<_> = wanted.into_iter().flat_map(Users::iter).cloned().collect();
        for (missing, users) in &self.missing {
            let is_candidate = || candidates(missing, providers).contains(&name.provider);
            let is_meant = |word: Word| word.distance(key).is_some();
            if &*lower(&missing.looked.name) == key
                || is_candidate() && is_meant(Word::new(&missing.looked.name))
            {
                self.meant.remove(missing);
                concerned.extend(users.iter().cloned());
            }
        }
        concerned
    }

    /// Those who refer to the name, of whatever provider.
    pub(super) fn users(&self, name: &ObjectName) -> Vec<ObjectName> {
        let users = self.wanted.get(&lower(&name.name));
        users.into_iter().flat_map(Users::iter).cloned().collect()
    }

    /// Notes that an object refers to these instead of those.
    pub(super) fn relink(&mut self, user: &ObjectName, before: &[Link], after: &[Link]) {
        for link in before {
            forget(&mut self.wanted, &link.wanted, user);
            if let End::Missing(missing) = &link.end
                && forget(&mut self.missing, missing, user)
            {
                self.meant.remove(missing);
            }
        }
        for link in after {
            note(&mut self.wanted, &link.wanted, user);
            if let End::Missing(missing) = &link.end {
                note(&mut self.missing, missing, user);
            }
        }
    }

    /// Where a reference of an object leads.
    pub(super) fn resolve(
        &self,
        reference: &str,
        from: &ObjectName,
        providers: &[Provider],
    ) -> Link {
        let (name, provider) = match reference.split_once('@') {
            Some((name, provider)) => (name, Some(provider)),
            None => (reference, None),
        };
        let known = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.names.get_key_value(name.to_ascii_lowercase().as_str()),
            false => self.names.get_key_value(name),
        };
        let named = known.map(|(_, named)| named.as_slice()).unwrap_or_default();
        let wanted = known.map(|(wanted, _)| wanted.clone());
        let wanted = wanted.unwrap_or_else(|| name.to_ascii_lowercase().into());
        // Of names that differ in case only, the last.
        let of = |provider: &str| named.iter().filter(|it| *it.provider == *provider).max();
        let own = || of(&from.provider).or_else(|| of(CONFIG));
        if let Some(found) = provider.is_none().then(own).flatten() {
            return Link { wanted, end: End::There(found.clone()) };
        }
        let looked = match provider {
            Some(provider) => ObjectName::new(name, provider),
            None => ObjectName::new(name, from.provider.clone()),
        };
        let missing = Missing { looked, explicit: provider.is_some() };
        let found = candidates(&missing, providers).iter().find_map(|provider| of(provider));
        let end = match found {
            Some(found) => End::There(found.clone()),
            None => End::Missing(missing),
        };
        Link { wanted, end }
    }

    /// The names that are looked for at a provider in vain, by those who name it.
    pub(super) fn missing_at(&self, provider: &str) -> impl Iterator<Item = &str> {
        let missing = self.missing.keys().filter(|it| it.explicit).map(|it| &it.looked);
        missing.filter(move |it| it.provider.eq_ignore_ascii_case(provider)).map(|it| &*it.name)
    }

    /// Those who refer to what is not there and would be looked for at this provider.
    pub(super) fn waiting_for(&self, provider: &str, providers: &[Provider]) -> Vec<ObjectName> {
        let is_there = |missing: &Missing| {
            candidates(missing, providers).iter().any(|candidate| **candidate == *provider)
        };
        let waiting = self.missing.iter().filter(|(missing, _)| is_there(missing));
        waiting.flat_map(|(_, users)| users.iter()).cloned().collect()
    }

    /// Whether a name that is not there is a mistake, as far as is known: everybody who could have it has
    /// been heard. What `config.toml` expects of others may come, whatever is there now: they are no
    /// reason to refuse that file.
    pub(super) fn is_mistake(
        &self,
        missing: &Missing,
        from: &ObjectName,
        providers: &[Provider],
        sources: &[Arc<Source>],
    ) -> bool {
        let ObjectName { name, provider } = &missing.looked;
        if missing.explicit && provider.eq_ignore_ascii_case(INTERNAL) {
            // Services of ours come and go with the admin API.
            return self.sort != Sort::Services || !is_internal_service(name);
        }
        let candidates = candidates(missing, providers);
        let is_heard = |name: &Arc<str>| {
            sources.iter().any(|source| source.provider == *name && source.synced)
        };
        let is_foreign = |name: &Arc<str>| *from.provider == *CONFIG && **name != *CONFIG;
        candidates.iter().all(|name| is_heard(name) && !is_foreign(name))
    }

    /// What to do about a name that is not there.
    pub(super) fn hint(&mut self, missing: &Missing, providers: &[Provider]) -> Option<String> {
        if let Some(known) = self.meant.get(missing) {
            return known.clone();
        }
        let hint = self.work_out(missing, providers);
        self.meant.insert(missing.clone(), hint.clone());
        hint
    }

    /// The same, for those who do not tell that they refer to it.
    pub(super) fn work_out(&self, missing: &Missing, providers: &[Provider]) -> Option<String> {
        let ObjectName { name, provider } = &missing.looked;
        if missing.explicit && provider.eq_ignore_ascii_case(INTERNAL) {
            return Some(self.internal(name));
        }
        let candidates = candidates(missing, providers);
        if candidates.is_empty() {
            let known: Vec<_> = providers.iter().map(|(name, _)| &**name).collect();
            return Some(format!("the providers are `{}`", known.join("`, `")));
        }
        let elsewhere = self.names.get(&lower(name)).into_iter().flatten();
        if let Some(provider) = elsewhere.map(|it| &it.provider).min() {
            return Some(format!("provider `{provider}` has one: write `{name}@{provider}`"));
        }
        let word = Word::new(name);
        let is_candidate = |it: &ObjectName| candidates.contains(&it.provider);
        let near = self.names.iter().filter_map(|(known, named)| {
            let distance = word.distance(known)?;
            named.iter().any(is_candidate).then_some((distance, known))
        });
        near.min().map(|(_, near)| format!("did you mean `{near}`?"))
    }

    /// What there is of ours, where there is nothing of this name.
    fn internal(&self, name: &str) -> String {
        match self.sort {
            Sort::Services if is_internal_service(name) => {
                "it is where `[admin]` is, which is switched off or cannot be bound".to_owned()
            }
            Sort::Services => format!("there are `{}` and `noop`", INTERNAL_SERVICES.join("`, `")),
            Sort::Middlewares => "there is one for each entrypoint with `redirect`, such as \
                `redirect-web-to-websecure`; where an entrypoint redirects, no router needs it"
                .to_owned(),
            Sort::Transports => "there is `default`".to_owned(),
        }
    }
}

fn is_internal_service(name: &str) -> bool {
    INTERNAL_SERVICES.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// Answers whether nobody is left.
fn forget<K: Eq + std::hash::Hash>(
    users: &mut HashMap<K, Users>,
    key: &K,
    user: &ObjectName,
) -> bool {
    let is_last = users.get_mut(key).is_some_and(|there| there.remove(user));
    if is_last {
        users.remove(key);
    }
    is_last
}

/// The providers at which a name is looked for.
fn candidates(missing: &Missing, providers: &[Provider]) -> Vec<Arc<str>> {
    let provider = &missing.looked.provider;
    if !missing.explicit {
        return vec![provider.clone(), CONFIG.into()];
    }
    if providers.iter().any(|(name, _)| name == provider) {
        return vec![provider.clone()];
    }
    let plugin = match fold(provider).as_str() {
        "consulcatalog" => "consul".to_owned(),
        other => other.to_owned(),
    };
    let uses = providers.iter().filter(|(_, of)| fold(of) == plugin);
    let mut meant: Vec<Arc<str>> = uses.map(|(name, _)| name.clone()).collect();
    if plugin == "file" {
        meant.push(CONFIG.into());
    }
    meant
}
