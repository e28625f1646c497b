//! `http`: the request and the response of the hook that is running.
//!
//! These are written by hand, not generated: names and values are read where they lie in the
//! guest's memory, so that a call costs one allocation at most.

mod request;
mod response;

use http::{HeaderMap, HeaderName};
use portolan_core::edit::{self, Edit, EditError};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, WasmList, WasmStr},
};

use crate::{
    bindings::{RequestHandle, ResponseHandle, http::HeadError, interface, types::Header},
    guest::Guest,
    staging::TooLarge,
};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut http = linker.instance(&interface("http"))?;
    request::link(&mut http)?;
    response::link(&mut http)
}

/// A store while a guest calls.
type Ctx<'a> = StoreContextMut<'a, Guest>;

/// The handle that every method has first. There is one request and one response, so it does not
/// say more than its type.
type ThisRequest = Resource<RequestHandle>;
type ThisResponse = Resource<ResponseHandle>;

/// What a change is answered with.
type Changed = Result<(), HeadError>;

/// The name of a header that is read. What is not a name is the name of no header.
fn name(ctx: &Ctx<'_>, name: &WasmStr) -> wasmtime::Result<Option<HeaderName>> {
    let name = name.to_str(ctx)?;
    Ok(HeaderName::from_bytes(name.as_bytes()).ok())
}

/// The name of a header that is changed.
fn changed_name(ctx: &Ctx<'_>, name: &WasmStr) -> wasmtime::Result<Result<HeaderName, EditError>> {
    Ok(edit::header_name(name.to_str(ctx)?.as_bytes()))
}

/// A change of a header line: the bytes it counts, and the change itself.
fn line(
    ctx: &Ctx<'_>,
    name: Result<HeaderName, EditError>,
    value: &WasmList<u8>,
    make: fn(HeaderName, http::HeaderValue) -> Edit,
) -> Result<(Edit, usize), EditError> {
    let (name, value) = (name?, edit::header_value(value.as_le_slice(ctx))?);
    let bytes = name.as_str().len() + value.len();
    Ok((make(name, value), bytes))
}

/// Stages a change.
fn stage(ctx: &mut Ctx<'_>, change: Result<(Edit, usize), EditError>) -> wasmtime::Result<Changed> {
    let (edit, bytes) = match change {
        Ok(change) => change,
        Err(error) => return Ok(Err(error.into())),
    };
    Ok(ctx.data_mut().view()?.staged.push(edit, bytes).map_err(HeadError::from))
}

/// Header lines as the guest sees them.
fn listed(lines: &HeaderMap) -> Vec<Header> {
    let header = |(name, value): (&HeaderName, &http::HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    lines.iter().map(header).collect()
}

/// A number that is the place of no header.
fn no_slot(index: u32) -> wasmtime::Error {
    wasmtime::Error::msg(format!("header slot {index} was not declared in `interest`"))
}

impl From<EditError> for HeadError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Invalid => Self::Invalid,
            EditError::Forbidden => Self::Forbidden,
        }
    }
}

impl From<TooLarge> for HeadError {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}
