//! `files`: reading below granted folders.

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{RecursiveMode, Watcher as _};
use tokio::{sync::Notify, time::Instant};

use crate::{
    bindings::files::{FileError, Host, Stat},
    outbound::{FileFailure, Folders, Found, Waits, is_change},
};

impl Host for Waits {
    async fn list(&mut self, folder: String) -> wasmtime::Result<Result<Vec<Stat>, FileError>> {
        let found = blocking(self.files.clone(), move |folders| folders.list(&folder)).await?;
        Ok(found.map(|found| {
            let stat = |it: Found| Stat { path: it.path, size: it.size, version: it.version };
            found.into_iter().map(stat).collect()
        }))
    }

    async fn read(&mut self, path: String) -> wasmtime::Result<Result<Vec<u8>, FileError>> {
        blocking(self.files.clone(), move |folders| folders.read(&path)).await
    }

    async fn wait(
        &mut self,
        folder: String,
        since: u64,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<u64, FileError>> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.into());
        let mut alarm: Option<Alarm> = None;
        loop {
            let asked = folder.clone();
            let version =
                match blocking(self.files.clone(), move |folders| folders.version(&asked)).await? {
                    Ok(version) => version,
                    Err(error) => return Ok(Err(error)),
                };
            if version != since || Instant::now() >= deadline {
                return Ok(Ok(version));
            }
            // Set after the first look: what changes in between is seen by the next look.
            match &alarm {
                Some(alarm) => alarm.wait(deadline).await,
                None => alarm = Some(self.alarm(&folder)),
            }
        }
    }
}

impl Waits {
    fn alarm(&self, folder: &str) -> Alarm {
        let path = self.files.as_ref().and_then(|folders| folders.resolve(folder).ok());
        Alarm::new(path)
    }
}

/// Does what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    folders: Option<Folders>,
    work: impl FnOnce(&Folders) -> Result<T, FileFailure> + Send + 'static,
) -> wasmtime::Result<Result<T, FileError>> {
    let Some(folders) = folders else {
        return Ok(Err(FileError::Denied("nothing is granted".to_owned())));
    };
    let done = tokio::task::spawn_blocking(move || work(&folders)).await?;
    Ok(done.map_err(error))
}

/// Rings when something in a folder may have changed.
struct Alarm {
    bell: Arc<Notify>,
    /// Watches as long as it lives. Where watching is impossible, looking again must do.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Alarm {
    fn new(path: Option<PathBuf>) -> Self {
        let bell = Arc::new(Notify::new());
        let ring = bell.clone();
        let watcher = path.and_then(|path| {
            let mut watcher = notify::recommended_watcher(move |event| {
                if is_change(&event) {
                    ring.notify_one();
                }
            })
            .ok()?;
            watcher.watch(&path, RecursiveMode::Recursive).ok()?;
            Some(watcher)
        });
        Self { bell, _watcher: watcher }
    }

    /// Returns when it is worth to look again.
    async fn wait(&self, deadline: Instant) {
        let again = deadline.min(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            // Events come in bursts: let this one end.
            () = self.bell.notified() => tokio::time::sleep(BURST).await,
            () = tokio::time::sleep_until(again) => (),
        }
    }
}

fn error(failure: FileFailure) -> FileError {
    match failure {
        FileFailure::Denied(text) => FileError::Denied(text),
        FileFailure::NotFound => FileError::NotFound,
        FileFailure::TooLarge => FileError::TooLarge,
        FileFailure::Io(error) => FileError::Io(error.to_string()),
    }
}

/// Events get lost, above all those of folders that were not there.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

const BURST: Duration = Duration::from_millis(30);
