//! Hooks that may take long, called beside the worker: on a thread that may be kept.
//!
//! **Invariant:** no more of them run for one worker than it has places; who finds none within the
//! time that a hook may take is told so, and a client that goes away leaves no place taken.

use std::{future::pending, panic::resume_unwind, sync::Arc, time::Duration};

use portolan_core::{
    exchange::Exchange,
    hook::{CallError, Hooks},
};
use tokio::{sync::Semaphore, task, time::timeout};

/// How many hooks one worker may keep running at once. They use processors that serve, too.
const PLACES: usize = 2;

/// The places of one worker.
#[derive(Debug)]
pub(crate) struct Aside(Arc<Semaphore>);

impl Default for Aside {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Aside {
    /// Calls a hook on another thread, and waits for it.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        hooks: Arc<dyn Hooks>,
        limit: Duration,
        exchange: Box<Exchange>,
        hook: impl FnOnce(&dyn Hooks, Box<Exchange>) -> Called<T> + Send + 'static,
    ) -> Called<T> {
        let Ok(Ok(place)) = timeout(limit, self.0.clone().acquire_owned()).await else {
            let busy = format!("none was free within {} ms", limit.as_millis());
            return (exchange, Err(CallError::Instance(busy)));
        };
        let called = task::spawn_blocking(move || {
            let called = hook(&*hooks, exchange);
            drop(place);
            called
        });
        match called.await.map_err(task::JoinError::try_into_panic) {
            Ok(called) => called,
            Err(Ok(panic)) => resume_unwind(panic),
            // The worker ends, and this request with it.
            Err(Err(_cancelled)) => pending().await,
        }
    }
}

/// An exchange that was handed over and back, and what the hook made of it.
pub(crate) type Called<T> = (Box<Exchange>, Result<T, CallError>);

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, sync::mpsc};

    use portolan_core::{
        hook::{RequestVerdict, ResponseVerdict},
        test_util,
    };
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// Stays until it is let go.
    #[derive(Debug)]
    struct Staying {
        gate: Mutex<mpsc::Receiver<()>>,
        entered: UnboundedSender<()>,
    }

    impl Hooks for Staying {
        fn on_request(&self, exchange: Box<Exchange>) -> Called<RequestVerdict> {
            self.entered.send(()).unwrap();
            self.gate.lock().unwrap().recv().unwrap();
            (exchange, Err(CallError::Suspended))
        }

        fn on_response(&self, _: u64, exchange: Box<Exchange>) -> Called<ResponseVerdict> {
            panic!("as the test wants it: {exchange:?}")
        }
    }

    fn staying() -> (Arc<dyn Hooks>, mpsc::Sender<()>, tokio::sync::mpsc::UnboundedReceiver<()>) {
        let (open, gate) = mpsc::channel();
        let (entered, enters) = unbounded_channel();
        (Arc::new(Staying { gate: gate.into(), entered }), open, enters)
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_finds_no_place_in_time_gets_the_exchange_back() {
        let aside = Aside::default();
        let (hooks, open, mut enters) = staying();
        let enter = |limit| {
            let exchange = Box::new(test_util::exchange("GET http://a.local/"));
            aside.call(hooks.clone(), limit, exchange, |hooks, it| hooks.on_request(it))
        };
        let late = async {
            for _ in 0..PLACES {
                enters.recv().await.unwrap();
            }
            let (exchange, verdict) = enter(Duration::ZERO).await;
            // Before anything can fail: they would wait for ever.
            (0..PLACES).for_each(|_| open.send(()).unwrap());
            assert_eq!(exchange.request.host(), "a.local");
            let busy = CallError::Instance("none was free within 0 ms".to_owned());
            assert_eq!(verdict.unwrap_err(), busy);
        };
        let (first, second, ()) = tokio::join!(enter(LIMIT), enter(LIMIT), late);
        for (exchange, verdict) in [first, second] {
            assert_eq!(exchange.request.host(), "a.local");
            assert_eq!(verdict.unwrap_err(), CallError::Suspended);
        }
        open.send(()).unwrap();
        assert!(enter(LIMIT).await.1.is_err());
        assert_eq!(aside.0.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_no_place_taken() {
        let aside = Aside::default();
        let (hooks, open, mut enters) = staying();
        let exchange = Box::new(test_util::exchange("GET http://a.local/"));
        let call = aside.call(hooks, LIMIT, exchange, |hooks, it| hooks.on_request(it));
        tokio::select! {
            _ = call => unreachable!("nobody let it go"),
            entered = enters.recv() => entered.unwrap(),
        }
        open.send(()).unwrap();
        // All of them.
        let all = aside.0.acquire_many(u32::try_from(PLACES).unwrap()).await;
        assert!(all.is_ok());
    }
}
