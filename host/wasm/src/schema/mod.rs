//! A plugin's `config-schema`: gives a configuration its canonical spelling and judges it.
//!
//! A configuration comes from TOML, where everything has a type and the operator's spelling, or
//! from a Consul tag, where everything is text and keys are Traefik's. Both must come out as the
//! plugin expects them, so that any plugin can be configured from either.
//!
//! **Invariant:** what comes out has the schema's own keys; its shape is the schema's.

mod canonical;
mod complaint;
mod reach;
mod shown;

use jsonschema::Validator;
use portolan_core::port::FieldError;
use serde_json::Value;

/// The schema of a plugin's configuration.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Value,
    validator: Validator,
}

impl Schema {
    /// Reads a JSON Schema. References lead nowhere but into the schema itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let validator = jsonschema::draft202012::new(&root).map_err(|error| error.to_string())?;
        Ok(Self { root, validator })
    }

    /// The schema as JSON.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// What a configuration in canonical spelling says that its provider will ask for.
    pub(crate) fn reaches(&self, config: &Value) -> Vec<Reach> {
        reach::reaches(&self.root, config)
    }

    /// A configuration as Traefik's API would write it.
    pub(crate) fn shown(&self, config: &Value) -> Value {
        let (config, _) = canonical::canonical(&self.root, config);
        shown::shown(&self.root, &config)
    }

    /// The configuration as the plugin expects it, or everything that is wrong with it.
    pub(crate) fn canonical(&self, config: &Value) -> Result<Value, Vec<FieldError>> {
        let (config, mut errors) = canonical::canonical(&self.root, config);
        for error in self.validator.iter_errors(&config) {
            for found in complaint::of(&error) {
                // One complaint for one place is enough; ours says more.
                if !errors.iter().any(|known| known.path == found.path) {
                    errors.push(found);
                }
            }
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

pub(crate) use reach::Reach;

#[cfg(test)]
mod tests;
