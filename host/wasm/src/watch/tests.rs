//! The watch over the plugins directory, with real files.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use super::*;

/// What is reported next, in short.
async fn next(watch: &mut PluginWatch) -> String {
    let limit = Duration::from_secs(20);
    told(&tokio::time::timeout(limit, watch.next()).await.expect("a change"))
}

fn told(file: &PluginFile) -> String {
    match &file.content {
        Content::Bytes(bytes) => format!("{}: {}", file.stem, String::from_utf8_lossy(bytes)),
        Content::Unreadable(_) => format!("{}: unreadable", file.stem),
        Content::Gone => format!("{}: gone", file.stem),
    }
}

#[tokio::test]
async fn files_are_reported_as_they_appear_change_and_go() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| home.path().join(name);
    fs::write(at("a.wasm"), "one").expect("a file");
    fs::write(at("other.txt"), "x").expect("a file");
    let (mut watch, first) = PluginWatch::open(home.path(), 8);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].stem, "a");

    fs::write(at("b.wasm"), "two").expect("a file");
    assert_eq!(next(&mut watch).await, "b: two");
    fs::write(at(".c.wasm"), "half").expect("a file");
    fs::write(at(".new"), "three").expect("a file");
    fs::rename(at(".new"), at("a.wasm")).expect("to move over it");
    assert_eq!(next(&mut watch).await, "a: three");
    // The same content is no change: the next thing told is the removal of the other.
    fs::write(at("a.wasm"), "three").expect("a file");
    fs::remove_file(at("b.wasm")).expect("to remove it");
    assert_eq!(next(&mut watch).await, "b: gone");
    fs::write(at("a.wasm"), "much too large").expect("a file");
    assert_eq!(next(&mut watch).await, "a: unreadable");
}

#[tokio::test]
async fn the_directory_may_appear_later() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let directory = home.path().join("plugins");
    let (mut watch, first) = PluginWatch::open(&directory, 100);
    assert!(first.is_empty());
    fs::create_dir(&directory).expect("a folder");
    fs::write(directory.join("a.wasm"), "one").expect("a file");
    assert_eq!(next(&mut watch).await, "a: one");
    fs::remove_dir_all(&directory).expect("to remove it");
    assert_eq!(next(&mut watch).await, "a: gone");
}

#[tokio::test]
async fn a_file_that_grows_is_reported_when_it_is_whole() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (mut watch, _) = PluginWatch::open(home.path(), 100);
    let mut before = look(home.path()).expect("a directory");
    for length in 1..20 {
        fs::write(home.path().join("a.wasm"), "x".repeat(length)).expect("a file");
        let after = look(home.path()).expect("a directory");
        watch.take_in(&before, &after);
        assert!(watch.ready.is_empty(), "after {length} bytes");
        assert!(watch.differs(&after), "it is not forgotten");
        before = after;
    }
    assert_eq!(next(&mut watch).await, format!("a: {}", "x".repeat(19)));
}

#[tokio::test]
async fn whoever_is_busy_with_other_things_is_told_all_the_same() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let directory = home.path().join("plugins");
    let (watch, _) = PluginWatch::open(&directory, 100);
    let (sender, mut changes) = mpsc::channel(1);
    tokio::spawn(watch.run(sender));
    fs::create_dir(&directory).expect("a folder");
    fs::write(directory.join("a.wasm"), "one").expect("a file");
    let told = async {
        loop {
            // Something else is always ready, so waiting for a change is given up each time.
            tokio::select! {
                biased;
                change = changes.recv() => return change.expect("it goes on").stem,
                () = tokio::task::yield_now() => (),
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    assert_eq!(told.expect("a change"), "a");
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_says_nothing_of_its_files() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let directory = home.path().join("plugins");
    fs::create_dir(&directory).expect("a folder");
    fs::write(directory.join("a.wasm"), "one").expect("a file");
    let (mut watch, _) = PluginWatch::open(&directory, 100);
    // A link that leads to itself can be read by nobody, not even by root.
    fs::rename(&directory, home.path().join("aside")).expect("to move it");
    symlink(&directory, &directory).expect("a link");
    assert!(look(&directory).is_err());
    assert!(watch.look().is_none());
    fs::remove_file(&directory).expect("to remove it");
    fs::rename(home.path().join("aside"), &directory).expect("to move it back");
    fs::write(directory.join("b.wasm"), "two").expect("a file");
    assert_eq!(next(&mut watch).await, "b: two", "`a` was never gone");
}

#[tokio::test]
async fn a_file_that_could_not_be_read_is_tried_again_without_a_change_of_it() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("a.wasm");
    fs::write(&file, "one").expect("a file");
    let (mut watch, _) = PluginWatch::open(home.path(), 100);
    let seen = look(home.path()).expect("a directory");
    let known = watch.known.get_mut("a").expect("it was read");
    known.content = Reported::Unread(io::ErrorKind::Other);
    assert!(watch.differs(&seen));
    assert_eq!(next(&mut watch).await, "a: one");
    assert!(!watch.differs(&seen));
}

#[tokio::test]
async fn names_that_lead_nowhere_or_are_no_text_are_told() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &[u8]| home.path().join(OsStr::from_bytes(name));
    symlink("nowhere", at(b"a.wasm")).expect("a link");
    fs::write(at(b"b\xff.wasm"), "x").expect("a file");
    fs::write(at(b"C.WASM"), "three").expect("a file");
    fs::create_dir(at(b"d.wasm")).expect("a folder");
    let (mut watch, first) = PluginWatch::open(home.path(), 100);
    let told: Vec<_> = first.iter().rev().map(told).collect();
    assert_eq!(told, ["C: three", "a: unreadable", "b\u{fffd}: unreadable", "d: unreadable"]);
    fs::write(home.path().join("nowhere"), "one").expect("a file");
    assert_eq!(next(&mut watch).await, "a: one");
}
