//! Whoever reads what is logged may be slow, may have stopped, or may not be there yet: no request
//! waits for it, nor does the start or the end.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader},
    process::Command,
};

use crate::support::{Backend, Config, Portolan, eventually};

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let config = Config::new("");
    let portolan = Portolan::start_unread(&config);
    // Several times what a pipe takes.
    for _ in 0..2000 {
        assert_eq!(portolan.http().get("nobody", "/").await.status, 404);
    }
    assert_eq!(portolan.admin().get("localhost", "/ping").await.status, 200);
    portolan.signal("-TERM");
    let (status, _) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn an_access_log_may_be_a_named_pipe_that_is_not_read_yet() {
    let backend = Backend::start("b").await;
    let config = Config::new(&format!(
        "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\n\
         [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [access-log]\nfile = \"pipe\"\n",
        backend.url()
    ));
    let pipe = config.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/lost").await.status, 200);
    portolan.log_until("nobody reads the named pipe");
    let lost = || async {
        let page = portolan.admin().get("localhost", "/metrics").await.body;
        page.contains("\nportolan_access_log_dropped_total 1\n")
    };
    eventually(lost, |lost| *lost).await;
    // Opened like this it does not wait for a writer.
    let reader = OpenOptions::new().read(true).write(true).open(pipe).unwrap();
    assert_eq!(portolan.http().get("a", "/read").await.status, 200);
    let reading = move || BufReader::new(reader).lines().next().unwrap().unwrap();
    let line = tokio::task::spawn_blocking(reading).await.unwrap();
    assert!(line.contains("GET /read "), "{line}");
    portolan.signal("-TERM");
    let (status, log) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success(), "{log}");
}
