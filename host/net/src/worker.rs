//! The worker threads: one per core, each a single-threaded runtime that runs the jobs it is given.
//!
//! **Invariant:** a job never leaves its thread, so what it holds needs neither lock nor `Send`.

use std::{
    future::Future,
    io,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use hyper::rt::Executor;
use portolan_core::figure::Counter;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::timeout_at,
};

use crate::drain::{Stop, Trigger, signal};

/// What a worker runs until it is done or the worker ends.
pub type JobFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a job's future, on the thread where it will run. Inside, `tokio::task::spawn_local`
/// works. A job that serves something watches [`WorkerContext::stop`] and returns when its work
/// is finished; at the deadline it is dropped.
pub type Job = Box<dyn FnOnce(WorkerContext) -> JobFuture + Send>;

/// Spawns on the worker that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}

/// What one worker has done.
#[derive(Debug, Default)]
pub struct WorkerFigures {
    /// Connections accepted.
    pub accepted: Counter,
}

/// What a job knows of the worker that it runs on.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// From 0.
    pub index: usize,
    /// The signal to stop.
    pub stop: Stop,
    /// What this worker has done.
    pub figures: Arc<WorkerFigures>,
}

/// The worker threads, seen from outside. Dropping it ends them at once.
#[derive(Debug)]
pub struct Workers {
    seats: Vec<Seat>,
    trigger: Trigger,
}

/// One worker, seen from outside.
#[derive(Debug)]
struct Seat {
    jobs: mpsc::UnboundedSender<Job>,
    /// Taken by the first who waits for its end.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    figures: Arc<WorkerFigures>,
}

impl Workers {
    /// Starts that many threads.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread or an event queue.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let (trigger, stop) = signal();
        let seats = (0..count.get()).map(|index| Seat::start(index, stop.clone()));
        Ok(Self { seats: seats.collect::<io::Result<_>>()?, trigger })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seats.len()
    }

    /// Runs a job on one worker. Does nothing when there is no such worker, or it has ended.
    pub fn run_on(&self, index: usize, job: Job) {
        if let Some(seat) = self.seats.get(index)
            && seat.jobs.send(job).is_err()
        {
            tracing::debug!(worker = index, "job came too late");
        }
    }

    /// Runs a job on every worker; `make` is asked once for each, with its index.
    pub fn run(&self, mut make: impl FnMut(usize) -> Job) {
        for index in 0..self.count() {
            self.run_on(index, make(index));
        }
    }

    /// What each worker has done.
    pub fn figures(&self) -> impl Iterator<Item = &Arc<WorkerFigures>> {
        self.seats.iter().map(|seat| &seat.figures)
    }

    /// Asks every job to finish, and waits until all have, or `limit` is over.
    pub async fn drain(&self, limit: Duration) {
        self.trigger.pull(limit);
        for seat in &self.seats {
            let ended = seat.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(ended) = ended {
                // The sender goes when the thread ends, in whatever way.
                ended.await.unwrap_or_default();
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.trigger.pull(Duration::ZERO);
    }
}

impl Seat {
    fn start(index: usize, stop: Stop) -> io::Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel::<()>();
        let figures = Arc::<WorkerFigures>::default();
        let context = WorkerContext { index, stop, figures: figures.clone() };
        // A runtime for local tasks cannot move: it is built where it runs, and reports back.
        let (built, report) = std::sync::mpsc::sync_channel(1);
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _ending = ending;
            let runtime = Builder::new_current_thread()
                .enable_all()
                .thread_name(format!("worker-{index}-blocking"))
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    built.send(Ok(())).unwrap_or_default();
                    runtime.block_on(work(context, queue));
                    // A name that is still being resolved must not hold us up.
                    runtime.shutdown_background();
                }
                Err(error) => built.send(Err(error)).unwrap_or_default(),
            }
        })?;
        report.recv().unwrap_or_else(|_gone| Err(io::Error::other("worker thread panicked")))?;
        Ok(Self { jobs, ended: Mutex::new(Some(ended)), figures })
    }
}

async fn work(context: WorkerContext, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut jobs = JoinSet::new();
    let mut stop = context.stop.clone();
    let deadline = loop {
        tokio::select! {
            deadline = stop.requested() => break deadline,
            Some(job) = queue.recv() => drop(jobs.spawn_local(job(context.clone()))),
            Some(ended) = jobs.join_next() => report(context.index, ended),
        }
    };
    // What was handed in before the signal runs, and sees the signal itself.
    while let Ok(job) = queue.try_recv() {
        drop(jobs.spawn_local(job(context.clone())));
    }
    let finished = async {
        while let Some(ended) = jobs.join_next().await {
            report(context.index, ended);
        }
    };
    if timeout_at(deadline, finished).await.is_err() {
        tracing::warn!(worker = context.index, "work was cut off by the drain limit");
    }
}

fn report(worker: usize, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(worker, %error, "job panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::Instant,
    };

    use super::*;

    fn two() -> Workers {
        Workers::start(NonZeroUsize::new(2).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_job_runs_on_every_worker_and_may_finish_after_the_signal() {
        let finished = Arc::new(AtomicUsize::new(0));
        let workers = two();
        workers.run(|_| {
            let finished = finished.clone();
            Box::new(|mut context| {
                Box::pin(async move {
                    context.stop.requested().await;
                    tokio::task::yield_now().await;
                    finished.fetch_add(1 + context.index, SeqCst);
                })
            })
        });
        workers.drain(Duration::from_secs(10)).await;
        assert_eq!(finished.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn a_job_that_does_not_end_is_cut_off() {
        let workers = two();
        workers.run(|_| Box::new(|_| Box::pin(std::future::pending())));
        let begin = Instant::now();
        workers.drain(Duration::from_millis(20)).await;
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_job_that_panics_ends_alone() {
        let workers = two();
        workers.run(|_| Box::new(|_| Box::pin(async { panic!("as the test wants it") })));
        let (done, waiting) = oneshot::channel();
        workers.run_on(1, Box::new(|_| Box::pin(async { done.send(()).unwrap() })));
        waiting.await.unwrap();
        workers.drain(Duration::from_secs(10)).await;
    }
}
