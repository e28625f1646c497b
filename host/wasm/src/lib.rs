//! How guests run.
mod bindings;
mod engine;
mod entropy;
mod error;
mod guest;
mod imports;
mod meter;
mod outbound;
mod staging;
mod facets;
mod runtime;
mod breaker;
