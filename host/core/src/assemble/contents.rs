//! Files that middlewares are made of: their content stands in a configuration where the path was.
//!
//! What a file held when it last was good goes on while it is not: it may be about to be replaced,
//! and nobody who may pass is kept out meanwhile. What is not granted any more does not go on.

use std::sync::Arc;

use crate::{
    name::ObjectName,
    port::{BindError, FieldError, FileAsk, FileFault, FileField, Files, MiddlewarePlugin},
};

/// What middlewares can be made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply<'a> {
    pub(super) plugins: &'a [Arc<dyn MiddlewarePlugin>],
    pub(super) files: Option<&'a dyn Files>,
}

/// What was said of a file.
pub(super) type Answer = Result<Arc<str>, FileFault>;

/// A file with its content.
pub(super) type Content = (FileAsk, Arc<str>);

/// What a configuration asks for, and what it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    fields: Vec<FileField>,
    pub(super) answers: Vec<(FileAsk, Answer)>,
}

impl Supply<'_> {
    /// What a file holds now.
    pub(super) fn content(&self, ask: &FileAsk) -> Answer {
        let nothing = || FileFault::Unreadable("cannot be read here".to_owned());
        self.files.ok_or_else(nothing)?.content(ask)
    }

    /// Gets what a configuration of a plugin asks for.
    pub(super) fn ask(&self, name: &ObjectName, plugin: &str, fields: Vec<FileField>) -> Asked {
        let answered = |field: &FileField| {
            let (provider, file) = (name.provider.clone(), field.file.clone());
            let ask = FileAsk { provider, plugin: plugin.into(), file };
            let answer = self.content(&ask);
            (ask, answer)
        };
        Asked { answers: fields.iter().map(answered).collect(), fields }
    }
}

impl Asked {
    /// The content of each file, or what it held `before` where it cannot be read now. Beside it,
    /// which those are.
    pub(super) fn contents(
        &self,
        before: &[Content],
    ) -> Result<(Vec<Content>, Vec<FieldError>), BindError> {
        let (mut contents, mut kept, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (field, (ask, answer)) in self.fields.iter().zip(&self.answers) {
            let known = before.iter().find(|(known, _)| known == ask);
            match (answer, known) {
                (Ok(content), _) => contents.push((ask.clone(), content.clone())),
                (Err(fault @ FileFault::Unreadable(_)), Some(known)) => {
                    kept.push(complaint(field, fault));
                    contents.push(known.clone());
                }
                (Err(fault), _) => missing.push(complaint(field, fault)),
            }
        }
        if missing.is_empty() { Ok((contents, kept)) } else { Err(BindError::Config(missing)) }
    }

    /// What each file held `before`, if that is known of all.
    pub(super) fn former(&self, before: &[Content]) -> Option<Vec<Content>> {
        let asks = self.answers.iter().map(|(ask, _)| ask);
        asks.map(|ask| before.iter().find(|(known, _)| known == ask).cloned()).collect()
    }

    /// What a plugin has to say of the content of a file is said of the file.
    pub(super) fn placed(&self, error: BindError) -> BindError {
        let BindError::Config(errors) = error else { return error };
        let placed = |error: FieldError| {
            let is_of = |field: &&FileField| {
                let below = error.path.strip_prefix(&field.path);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            };
            match self.fields.iter().find(is_of) {
                Some(FileField { path, file }) => {
                    let message = format!("`{file}`: {}", error.message);
                    FieldError { path: path.clone(), message, hint: error.hint }
                }
                None => error,
            }
        };
        BindError::Config(errors.into_iter().map(placed).collect())
    }
}

/// Whether nothing can be different.
pub(super) fn are_the_same(one: &Option<Arc<dyn Files>>, other: &Option<Arc<dyn Files>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn complaint(field: &FileField, fault: &FileFault) -> FieldError {
    let (message, hint) = match fault {
        FileFault::Denied { message, hint } => (message, Some(hint.clone())),
        FileFault::Unreadable(message) => (message, None),
    };
    let message = format!("`{}` {message}", field.file);
    FieldError { path: field.path.clone(), message, hint }
}
