//! `timer`: waiting.

use std::time::Duration;

use crate::{bindings::timer, outbound::Waits};

impl timer::Host for Waits {
    async fn sleep(&mut self, ms: u32) -> wasmtime::Result<()> {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        Ok(())
    }
}
