//! The methods of `http.response`.

use http::HeaderName;
use portolan_core::{
    edit::{self, Edit, EditError},
    exchange::ResponseHead,
};
use wasmtime::component::{LinkerInstance, ResourceType, WasmList, WasmStr};

use super::{Ctx, ThisResponse, changed_name, line, listed, name, no_slot, stage};
use crate::{
    bindings::{ResponseHandle, types::Header},
    guest::{Guest, NoHook, View},
    staging::Side,
};

pub(super) fn link(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.resource("response", ResourceType::host::<ResponseHandle>(), |_, _| Ok(()))?;
    facts(http)?;
    reading(http)?;
    changing(http)
}

fn facts(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.func_wrap("[method]response.status", |mut ctx: Ctx<'_>, (_,): (ThisResponse,)| {
        let view = ctx.data_mut().view()?;
        let staged = view.staged.last(|edit| match edit {
            Edit::SetStatus(status) => Some(*status),
            _ => None,
        });
        let status = staged.unwrap_or(response(&view)?.status);
        Ok((status.as_u16(),))
    })?;
    http.func_wrap("[method]response.local", |mut ctx: Ctx<'_>, (_,): (ThisResponse,)| {
        Ok((response(&ctx.data_mut().view()?)?.local,))
    })
}

fn reading(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.func_wrap(
        "[method]response.slot",
        |mut ctx: Ctx<'_>, (_, index): (ThisResponse, u32)| {
            let view = ctx.data_mut().view()?;
            let slot = view.slots.response.get(index as usize).ok_or_else(|| no_slot(index))?;
            Ok((view.staged.first(Side::Response, view.exchange, &slot.name).map(<[u8]>::to_vec),))
        },
    )?;
    http.func_wrap(
        "[method]response.header",
        |mut ctx: Ctx<'_>, args: (ThisResponse, WasmStr)| {
            let Some(name) = name(&ctx, &args.1)? else { return Ok((None,)) };
            let view = ctx.data_mut().view()?;
            Ok((view.staged.first(Side::Response, view.exchange, &name).map(<[u8]>::to_vec),))
        },
    )?;
    http.func_wrap(
        "[method]response.values",
        |mut ctx: Ctx<'_>, args: (ThisResponse, WasmStr)| {
            let Some(name) = name(&ctx, &args.1)? else { return Ok((Vec::new(),)) };
            let view = ctx.data_mut().view()?;
            let values = view.staged.values(Side::Response, view.exchange, &name);
            Ok((values.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>(),))
        },
    )?;
    http.func_wrap("[method]response.all", |mut ctx: Ctx<'_>, (_,): (ThisResponse,)| {
        let view = ctx.data_mut().view()?;
        let lines: Vec<Header> = listed(&view.staged.lines(Side::Response, view.exchange));
        Ok((lines,))
    })
}

fn changing(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type SetArgs = (ThisResponse, WasmStr, WasmList<u8>);
    http.func_wrap(
        "[method]response.set-status",
        |mut ctx: Ctx<'_>, (_, status): (ThisResponse, u16)| {
            let change = edit::status(status).map(|status| (Edit::SetStatus(status), 0));
            Ok((stage(&mut ctx, change)?,))
        },
    )?;
    http.func_wrap(
        "[method]response.set-slot",
        |mut ctx: Ctx<'_>, (_, index, value): (ThisResponse, u32, WasmList<u8>)| {
            let name = slot(&mut ctx, index)?;
            let change = line(&ctx, name, &value, Edit::SetResponseHeader);
            Ok((stage(&mut ctx, change)?,))
        },
    )?;
    http.func_wrap("[method]response.set-header", |mut ctx: Ctx<'_>, args: SetArgs| {
        let name = changed_name(&ctx, &args.1)?;
        let change = line(&ctx, name, &args.2, Edit::SetResponseHeader);
        Ok((stage(&mut ctx, change)?,))
    })?;
    http.func_wrap("[method]response.append-header", |mut ctx: Ctx<'_>, args: SetArgs| {
        let name = changed_name(&ctx, &args.1)?;
        let change = line(&ctx, name, &args.2, Edit::AppendResponseHeader);
        Ok((stage(&mut ctx, change)?,))
    })?;
    http.func_wrap(
        "[method]response.remove-header",
        |mut ctx: Ctx<'_>, args: (ThisResponse, WasmStr)| {
            let name = changed_name(&ctx, &args.1)?;
            let change = name.map(|name| (Edit::RemoveResponseHeader(name), 0));
            Ok((stage(&mut ctx, change)?,))
        },
    )
}

fn slot(ctx: &mut Ctx<'_>, index: u32) -> wasmtime::Result<Result<HeaderName, EditError>> {
    let view = ctx.data_mut().view()?;
    let slot = view.slots.response.get(index as usize).ok_or_else(|| no_slot(index))?;
    Ok(slot.changed())
}

fn response<'a>(view: &View<'a>) -> Result<&'a ResponseHead, NoHook> {
    view.exchange.response.as_ref().ok_or(NoHook)
}
