//! What a router takes, with its service, its instance and their names:
//! `cargo bench -p portolan-core --features test-util --bench memory`.
//!
//! Bytes are those that were asked for; what an allocator adds is not in them.

#![expect(clippy::print_stdout, reason = "it is here to tell")]
#![expect(unsafe_code, reason = "an allocator that counts")]

mod world;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use portolan_core::snapshot::Snapshot;
use world::World;

/// Counts what is held.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        BLOCKS.fetch_add(1, Relaxed);
        // SAFETY: as promised by whoever calls.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        BLOCKS.fetch_sub(1, Relaxed);
        // SAFETY: as promised by whoever calls.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Bytes and blocks.
type Held = [usize; 2];

fn held() -> Held {
    [BYTES.load(Relaxed), BLOCKS.load(Relaxed)]
}

fn main() {
    for routers in [10_000, 100_000] {
        let before = held();
        let mut world = World::new(routers);
        let read = held();
        let snapshot = world.step(Vec::new());
        let all = held();
        drop(world);
        let served = held();
        println!("each of {routers} routers:");
        tell("what its instance said, as it was read", before, read, routers);
        tell("the snapshot, with that", before, served, routers);
        tell("both, and what the next snapshot is made from", before, all, routers);
        let (names, routes) = (names(&snapshot), routes(&snapshot));
        println!("  of the snapshot, names: {} bytes", names / routers);
        println!("  of the snapshot, route tables: {} bytes", routes / routers);
    }
}

fn tell(what: &str, [bytes, blocks]: Held, [more_bytes, more_blocks]: Held, routers: usize) {
    let bytes = more_bytes.saturating_sub(bytes) / routers;
    let blocks = more_blocks.saturating_sub(blocks) as f64 / routers as f64;
    println!("  {what}: {bytes} bytes in {blocks:.1} blocks");
}

fn names(snapshot: &Snapshot) -> usize {
    snapshot.zones.bytes()
}

fn routes(snapshot: &Snapshot) -> usize {
    snapshot.tables.iter().map(|(_, table)| table.bytes()).sum()
}
