//! What a component imports and exports, by name, and whether that makes a plugin.

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

use crate::{
    bindings::{PACKAGE, VERSION},
    error::LoadError,
    imports::{QUICK, WAITING},
};

/// The names at the surface of a component.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Surface {
    /// As they stand in the component: `portolan:plugin/log@0.1.0`.
    pub(crate) imports: Vec<String>,
    /// The same.
    pub(crate) exports: Vec<String>,
}

impl Surface {
    /// Reads the surface of a valid component.
    pub(crate) fn read(component: &[u8]) -> Result<Self, String> {
        let mut surface = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(|error| error.to_string())? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        let import = import.map_err(|error| error.to_string())?;
                        surface.imports.push(import.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        let export = export.map_err(|error| error.to_string())?;
                        surface.exports.push(export.name.name.to_owned());
                    }
                }
                _ => (),
            }
        }
        Ok(surface)
    }

    /// Whether this host can run what has this surface, and what is wrong if not.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        self.check_versions()?;
        self.check_imports()?;
        if !self.exports("lifecycle") {
            return Err(LoadError::NotAPlugin);
        }
        if self.kinds().is_empty() {
            return Err(LoadError::NoKind);
        }
        if !self.exports("middleware-interest") {
            let hook = HOOKS.into_iter().find(|hook| self.exports(hook));
            if let Some(hook) = hook {
                return Err(LoadError::HookWithoutInterest { hook });
            }
        }
        self.check_waiting()
    }

    /// `provider`, `matcher`, `middleware`.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("provider", "provider"),
            ("matcher-compiler", "matcher"),
            ("middleware-interest", "middleware"),
        ];
        kinds.into_iter().filter(|(facet, _)| self.exports(facet)).map(|(_, kind)| kind).collect()
    }

    /// Whether one of our interfaces is exported.
    pub(crate) fn exports(&self, interface: &str) -> bool {
        self.exports.iter().any(|name| bare(name) == Some(interface))
    }

    /// Whether one of our interfaces is imported.
    pub(crate) fn imports(&self, interface: &str) -> bool {
        self.imports.iter().any(|name| bare(name) == Some(interface))
    }

    /// The imported interfaces by our names, without those that only hold types.
    pub(crate) fn imported(&self) -> Vec<String> {
        let names = self.imports.iter().filter_map(|name| bare(name));
        names
            .filter(|name| !["types", "catalog", "predicate"].contains(name))
            .map(str::to_owned)
            .collect()
    }

    fn check_versions(&self) -> Result<(), LoadError> {
        for name in self.imports.iter().chain(&self.exports) {
            let Some((_, version)) = ours(name) else { continue };
            if track(version) != track(VERSION) {
                return Err(LoadError::Version { found: version.to_owned() });
            }
        }
        Ok(())
    }

    fn check_imports(&self) -> Result<(), LoadError> {
        let is_known = |name: &str| {
            bare(name).is_some_and(|name| QUICK.contains(&name) || WAITING.contains(&name))
        };
        match self.imports.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(import) => Err(LoadError::UnknownImport {
                import: import.clone(),
                advice: match import.starts_with("wasi:") {
                    true => "; build it for `wasm32-unknown-unknown`",
                    false => "",
                },
            }),
        }
    }

    fn check_waiting(&self) -> Result<(), LoadError> {
        let mut called = HOOKS.into_iter().chain(["matcher-compiler", "middleware-interest"]);
        let Some(export) = called.find(|facet| self.exports(facet)) else {
            return Ok(());
        };
        match WAITING.into_iter().find(|interface| self.imports(interface)) {
            Some(import) => Err(LoadError::MayWait { export, import: import.to_owned() }),
            None => Ok(()),
        }
    }
}

/// The interfaces of hooks.
const HOOKS: [&str; 4] =
    ["request-hook", "response-hook", "request-slots-hook", "response-slots-hook"];

/// Interface and version of a name of our package.
fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

fn bare(name: &str) -> Option<&str> {
    ours(name).map(|(interface, _)| interface)
}

/// The part of a version within which guests fit: the first number that is not 0.
fn track(version: &str) -> &str {
    let parts = if version.starts_with("0.") { 2 } else { 1 };
    let end = version.match_indices('.').nth(parts - 1).map_or(version.len(), |(at, _)| at);
    version.get(..end).unwrap_or(version)
}
