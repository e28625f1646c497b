//! Processes that do not behave, and none at all. Those that do are met by the real binary
//! (`tests/e2e/first_start.rs`).

use super::*;

/// What comes of a component when this shell script is the compiler.
async fn compiled(script: &str, patience: Duration) -> Result<Vec<u8>, String> {
    with(Processes::of("/bin/sh".into(), &["-c", script], patience), b"component").await
}

async fn with(processes: Processes, component: &'static [u8]) -> Result<Vec<u8>, String> {
    let compiled = tokio::task::spawn_blocking(move || processes.compile(component));
    match compiled.await.unwrap() {
        Ok(code) => Ok(code.as_bytes().to_vec()),
        Err(cause) => Err(cause.to_string()),
    }
}

#[tokio::test]
async fn what_goes_in_is_the_component_and_what_comes_out_is_the_code() {
    assert_eq!(compiled("cat; echo .", PATIENCE).await, Ok(b"component.\n".to_vec()));
}

#[tokio::test]
async fn a_refusal_is_told_word_for_word() {
    assert_eq!(compiled("printf 'is odd'; exit 3", PATIENCE).await, Err("is odd".to_owned()));
}

#[tokio::test]
async fn a_crash_is_told_with_the_last_word() {
    let killed = compiled("cat >&2; echo half; kill -9 $$", PATIENCE).await;
    let expected = "the compiler crashed: it was ended by signal 9, after it said `component`";
    assert_eq!(killed, Err(expected.to_owned()));
    let ended = compiled("exit 101", PATIENCE).await;
    assert_eq!(ended, Err("the compiler crashed: exit status: 101".to_owned()));
}

#[tokio::test]
async fn one_that_does_not_end_is_ended() {
    let late = compiled("cat >/dev/null; while :; do :; done", Duration::ZERO).await;
    assert_eq!(late, Err("the compiler takes longer than 0 s".to_owned()));
}

#[tokio::test]
async fn without_a_process_it_is_done_here() {
    let nothing = || Processes::of("/no/such/program".into(), &[], PATIENCE);
    // `\0asm`, and the version of components: the smallest there is.
    let code = with(nothing(), b"\0asm\x0d\0\x01\0").await.unwrap();
    assert!(code.starts_with(b"\x7fELF"), "{code:?}");
    let error = with(nothing(), b"component").await.unwrap_err();
    assert!(!error.contains("process"), "{error}");
}

#[tokio::test]
async fn none_goes_on_and_none_is_started_after_the_end() {
    let endless = Processes::of("/bin/sh".into(), &["-c", "while :; do :; done"], PATIENCE);
    // One more than may run at once.
    let running: Vec<_> =
        (0..=AT_ONCE).map(|_| tokio::spawn(with(endless.clone(), b"component"))).collect();
    endless.stop();
    for running in running {
        assert_eq!(running.await.unwrap(), Err("Portolan is ending".to_owned()));
    }
    assert_eq!(with(endless, b"component").await, Err("Portolan is ending".to_owned()));
}
