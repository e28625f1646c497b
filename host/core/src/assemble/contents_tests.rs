//! Middlewares that are made of files: what becomes of them when a file changes.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    Assembler, Inputs,
    tests::{consul, file, inputs, instance},
};
use crate::{
    middleware::Middleware,
    name::ObjectName,
    port::{FileAsk, FileFault, Files},
    snapshot::{Snapshot, Status},
};

/// Files by their paths; those of `consul` must be below `granted`.
#[derive(Debug, Default)]
struct Held(HashMap<&'static str, &'static str>);

impl Files for Held {
    fn content(&self, ask: &FileAsk) -> Result<Arc<str>, FileFault> {
        let is_granted = &*ask.provider == "config" || ask.file.starts_with("granted/");
        if !is_granted {
            let message = format!("is not granted to `{}`", ask.plugin);
            return Err(FileFault::Denied { message, hint: "grant it".to_owned() });
        }
        let held = self.0.get(ask.file.as_str());
        held.map(|&text| text.into())
            .ok_or_else(|| FileFault::Unreadable("is not there".to_owned()))
    }
}

fn with_files(http: Value, files: &[(&'static str, &'static str)]) -> Inputs {
    holding(inputs(vec![file(http)]), files)
}

fn holding(inputs: Inputs, files: &[(&'static str, &'static str)]) -> Inputs {
    Inputs { files: Some(Arc::new(Held(files.iter().copied().collect()))), ..inputs }
}

fn guards() -> Value {
    json!({ "middlewares": { "a": { "hello": { "file": "a" } }, "b": { "hello": { "file": "b" } },
                             "plain": { "hello": {} } } })
}

fn live(snapshot: &Snapshot, name: &str) -> Option<Arc<Middleware>> {
    snapshot.middlewares.get(&ObjectName::new(name, "config"))?.live.clone()
}

fn problems(snapshot: &Snapshot) -> Vec<String> {
    let told = snapshot.problems.iter().map(|it| {
        let hint = it.hint.as_deref().unwrap_or("-");
        format!("{:?} {} {}: {hint}", it.severity, it.path, it.message)
    });
    told.collect()
}

#[test]
fn only_the_middleware_of_a_changed_file_is_made_anew() {
    let mut assembler = Assembler::default();
    let mut inputs = with_files(guards(), &[("a", "1"), ("b", "1")]);
    let first = assembler.assemble(&inputs);
    assert_eq!(problems(&first), [""; 0]);
    assert_eq!(assembler.files().count(), 2);
    inputs = holding(inputs, &[("a", "2"), ("b", "1")]);
    let second = assembler.assemble(&inputs);
    let same = |name| Arc::ptr_eq(&live(&first, name).unwrap(), &live(&second, name).unwrap());
    assert_eq!(["a", "b", "plain"].map(same), [false, true, true]);
}

#[test]
fn what_a_file_held_goes_on_while_it_is_not_good() {
    let mut assembler = Assembler::default();
    let mut inputs = with_files(guards(), &[("a", "1"), ("b", "1")]);
    let first = assembler.assemble(&inputs);
    let warned = [
        (
            &[("b", "1")][..],
            "Warning /http/middlewares/a/hello/file middleware `a`: `a` is not there: what it held before goes on",
        ),
        (
            &[("a", "wrong"), ("b", "1")],
            "Warning /http/middlewares/a/hello/file middleware `a`: `a`: line 1: no sense: what it held before goes on",
        ),
    ];
    // Twice: what is kept once is kept.
    for (files, expected) in warned.into_iter().chain(warned) {
        inputs = holding(inputs, files);
        let next = assembler.assemble(&inputs);
        assert_eq!(problems(&next), [expected]);
        assert!(Arc::ptr_eq(&live(&first, "a").unwrap(), &live(&next, "a").unwrap()));
        let entry = next.middlewares.get(&ObjectName::new("a", "config")).unwrap();
        assert_eq!((entry.entry.status, entry.entry.errors.len()), (Status::Warning, 1));
    }
    inputs = holding(inputs, &[("a", "1"), ("b", "1")]);
    let mended = assembler.assemble(&inputs);
    assert_eq!(problems(&mended), [""; 0]);
    assert!(Arc::ptr_eq(&live(&first, "a").unwrap(), &live(&mended, "a").unwrap()));
}

#[test]
fn another_option_or_frame_makes_it_of_what_the_file_held() {
    let mut assembler = Assembler::default();
    assembler.assemble(&with_files(guards(), &[("a", "1"), ("b", "1")]));
    let other = json!({ "middlewares": { "a": { "hello": { "file": "a", "more": true } } } });
    let mut inputs = with_files(other, &[]);
    inputs.entrypoints.pop();
    let next = assembler.assemble(&inputs);
    assert!(live(&next, "a").is_some());
    assert_eq!(problems(&next).len(), 1);
    // Another file has held nothing yet.
    let other = json!({ "middlewares": { "a": { "hello": { "file": "c" } } } });
    assert!(live(&assembler.assemble(&with_files(other, &[])), "a").is_none());
}

#[test]
fn a_file_that_was_never_good_closes_until_it_is() {
    let mut assembler = Assembler::default();
    let mut inputs = with_files(guards(), &[("a", "wrong")]);
    let first = assembler.assemble(&inputs);
    assert_eq!(
        problems(&first),
        [
            "Error /http/middlewares/a/hello/file middleware `a`: `a`: line 1: no sense: -",
            "Error /http/middlewares/b/hello/file middleware `b`: `b` is not there: -",
        ]
    );
    assert!(live(&first, "a").is_none() && live(&first, "b").is_none());
    inputs = holding(inputs, &[("a", "1"), ("b", "1")]);
    let mended = assembler.assemble(&inputs);
    assert!(live(&mended, "a").is_some() && live(&mended, "b").is_some());
    assert_eq!(problems(&mended), [""; 0]);
}

#[test]
fn what_is_not_granted_any_more_does_not_go_on() {
    let mut assembler = Assembler::default();
    let declared =
        |file| consul(vec![instance("1", 1, &[("http.middlewares.m.hello.file", file)])]);
    let files = [("granted/a", "1"), ("a", "1")];
    let name = ObjectName::new("m", "consul");
    let status = |snapshot: &Snapshot| snapshot.middlewares.get(&name).unwrap().entry.status;
    let good = assembler.assemble(&holding(inputs(vec![declared("granted/a")]), &files));
    assert_eq!(status(&good), Status::Enabled);
    let denied = assembler.assemble(&holding(inputs(vec![declared("a")]), &files));
    assert_eq!(status(&denied), Status::Disabled);
    assert_eq!(
        problems(&denied),
        ["Error  middleware `m`: `a` is not granted to `hello`: grant it"]
    );
}

#[test]
fn a_newest_word_whose_file_is_not_there_wins_when_it_comes() {
    let mut assembler = Assembler::default();
    let tag = "http.middlewares.m.hello.file";
    let sources = vec![consul(vec![
        instance("1", 1, &[(tag, "granted/old")]),
        instance("2", 2, &[(tag, "granted/new")]),
    ])];
    let mut given = holding(inputs(sources), &[("granted/old", "1")]);
    let name = ObjectName::new("m", "consul");
    let config =
        |snapshot: &Snapshot| snapshot.middlewares.get(&name).unwrap().config["file"].clone();
    assert_eq!(config(&assembler.assemble(&given)), "granted/old");
    given = holding(given, &[("granted/old", "1"), ("granted/new", "1")]);
    assert_eq!(config(&assembler.assemble(&given)), "granted/new");
}

#[test]
fn inputs_that_are_refused_leave_bindings_as_they_were() {
    let mut assembler = Assembler::default();
    let given = with_files(guards(), &[("a", "1"), ("b", "1")]);
    let first = assembler.assemble(&given);
    let broken = holding(given.clone(), &[]);
    assembler.assemble(&broken);
    let none = with_files(json!({}), &[]);
    // The same declarations without any file, and none of them.
    let fileless = Inputs { files: None, ..given };
    for trial in [&fileless, &none] {
        assert!(!assembler.try_out(trial, |_| false));
        let next = assembler.assemble(&broken);
        assert!(Arc::ptr_eq(&live(&first, "a").unwrap(), &live(&next, "a").unwrap()));
    }
    assert!(assembler.try_out(&none, |snapshot| live(snapshot, "a").is_none()));
}
