//! A plugin's `config-schema`: gives a configuration its canonical spelling and judges it.
//!
//! A configuration comes from TOML, where everything has a type and the operator's spelling, or
//! from a Consul tag, where everything is text and keys are Traefik's. Both must come out as the
//! plugin expects them, so that any plugin can be configured from either.
//!
//! **Invariant:** what comes out has the schema's own keys; its shape is the schema's.

mod canonical;
mod complaint;
mod marked;
mod shown;

use std::sync::Arc;

use jsonschema::Validator;
use portolan_core::port::{FieldError, FileField};
use serde_json::Value;

/// The schema of a plugin's configuration.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Value,
    validator: Validator,
    /// Whether it speaks of files at all: few do.
    has_files: bool,
}

/// Marks what a provider will ask for, by the capability that it takes.
const REACHES: &str = "x-reaches";

/// Marks a path in whose place the content of the file is given.
const CONTENT_OF: &str = "x-content-of";

/// How every text in PEM begins (RFC 7468), and no path does.
const PEM: &str = "-----BEGIN ";

impl Schema {
    /// Reads a JSON Schema. References lead nowhere but into the schema itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let validator = jsonschema::draft202012::new(&root).map_err(|error| error.to_string())?;
        Ok(Self { root, validator, has_files: text.contains(CONTENT_OF) })
    }

    /// The schema as JSON.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// What a configuration in canonical spelling says that its provider will ask for.
    pub(crate) fn reaches(&self, config: &Value) -> Vec<Marked> {
        marked::marked(&self.root, config, REACHES)
    }

    /// The files whose content a configuration in canonical spelling wants.
    pub(crate) fn files(&self, config: &Value) -> Vec<FileField> {
        if !self.has_files {
            return Vec::new();
        }
        let marked = marked::marked(&self.root, config, CONTENT_OF).into_iter();
        let files = marked.filter(|marked| match &*marked.word {
            "file" => true,
            "file-or-pem" => !marked.text.trim_start().starts_with(PEM),
            _ => false,
        });
        files.map(|Marked { path, text, .. }| FileField { path, file: text }).collect()
    }

    /// The same configuration with the contents of its files, in the order of these.
    pub(crate) fn filled(&self, mut config: Value, contents: &[Arc<str>]) -> Value {
        for (field, content) in self.files(&config).iter().zip(contents) {
            marked::put(&mut config, &field.path, content);
        }
        config
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

pub(crate) use marked::Marked;

#[cfg(test)]
mod tests;
