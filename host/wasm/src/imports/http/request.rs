//! The methods of `http.request`.
//!
//! On the way back the request is what was sent on: it can be read, its attributes can be set,
//! and nothing else of it can be changed.

use http::{HeaderName, Version};
use portolan_core::edit::{self, Edit, EditError};
use wasmtime::component::{LinkerInstance, ResourceType, WasmList, WasmStr};

use super::{Changed, Ctx, ThisRequest, changed_name, line, listed, name, no_slot, stage};
use crate::{
    bindings::{
        RequestHandle,
        http::{HeadError, Peer, Version as WitVersion},
        types::Header,
    },
    guest::{Guest, View},
    staging::Side,
};

pub(super) fn link(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.resource("request", ResourceType::host::<RequestHandle>(), |_, _| Ok(()))?;
    facts(http)?;
    reading(http)?;
    changing(http)?;
    target(http)?;
    attributes(http)
}

fn facts(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.func_wrap("[method]request.method", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        Ok((method(&ctx.data_mut().view()?),))
    })?;
    http.func_wrap("[method]request.scheme", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        Ok((ctx.data_mut().view()?.exchange.scheme().to_owned(),))
    })?;
    http.func_wrap("[method]request.version", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        Ok((version(ctx.data_mut().view()?.exchange.request.version),))
    })?;
    http.func_wrap("[method]request.peer", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        Ok((peer(&ctx.data_mut().view()?),))
    })?;
    http.func_wrap("[method]request.router", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        let view = ctx.data_mut().view()?;
        Ok((view.exchange.router.as_ref().map(ToString::to_string).unwrap_or_default(),))
    })
}

fn target(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.func_wrap("[method]request.authority", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        let view = ctx.data_mut().view()?;
        let value = view.staged.first(Side::Request, view.exchange, &http::header::HOST);
        Ok((value.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default(),))
    })?;
    http.func_wrap("[method]request.path", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        let view = ctx.data_mut().view()?;
        let staged = staged_target(&view).map(|target| target.path());
        Ok((staged.unwrap_or_else(|| view.exchange.request.path()).to_owned(),))
    })?;
    http.func_wrap("[method]request.target", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        let view = ctx.data_mut().view()?;
        let staged = staged_target(&view).map(|target| target.sent().as_str());
        Ok((staged.unwrap_or_else(|| view.exchange.request.target()).to_owned(),))
    })?;
    http.func_wrap("[method]request.query", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        let view = ctx.data_mut().view()?;
        let query = match staged_target(&view) {
            Some(target) => target.sent().query(),
            None => view.exchange.request.query(),
        };
        Ok((query.map(str::to_owned),))
    })
}

fn reading(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.func_wrap("[method]request.slot", |mut ctx: Ctx<'_>, (_, index): (ThisRequest, u32)| {
        let view = ctx.data_mut().view()?;
        let slot = view.slots.request.get(index as usize).ok_or_else(|| no_slot(index))?;
        Ok((view.staged.first(Side::Request, view.exchange, &slot.name).map(<[u8]>::to_vec),))
    })?;
    http.func_wrap("[method]request.header", |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
        let Some(name) = name(&ctx, &args.1)? else { return Ok((None,)) };
        let view = ctx.data_mut().view()?;
        Ok((view.staged.first(Side::Request, view.exchange, &name).map(<[u8]>::to_vec),))
    })?;
    http.func_wrap("[method]request.values", |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
        let Some(name) = name(&ctx, &args.1)? else { return Ok((Vec::new(),)) };
        let view = ctx.data_mut().view()?;
        let values = view.staged.values(Side::Request, view.exchange, &name);
        Ok((values.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>(),))
    })?;
    http.func_wrap("[method]request.all", |mut ctx: Ctx<'_>, (_,): (ThisRequest,)| {
        let view = ctx.data_mut().view()?;
        let lines: Vec<Header> = listed(&view.staged.lines(Side::Request, view.exchange));
        Ok((lines,))
    })
}

fn changing(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type SetArgs = (ThisRequest, WasmStr, WasmList<u8>);
    http.func_wrap(
        "[method]request.set-slot",
        |mut ctx: Ctx<'_>, (_, index, value): (ThisRequest, u32, WasmList<u8>)| {
            let name = slot(&mut ctx, index)?;
            let change = line(&ctx, name, &value, Edit::SetRequestHeader);
            Ok((change_request(&mut ctx, change)?,))
        },
    )?;
    http.func_wrap("[method]request.set-header", |mut ctx: Ctx<'_>, args: SetArgs| {
        let name = changed_name(&ctx, &args.1)?;
        let change = line(&ctx, name, &args.2, Edit::SetRequestHeader);
        Ok((change_request(&mut ctx, change)?,))
    })?;
    http.func_wrap("[method]request.append-header", |mut ctx: Ctx<'_>, args: SetArgs| {
        let name = changed_name(&ctx, &args.1)?;
        let change = line(&ctx, name, &args.2, Edit::AppendRequestHeader);
        Ok((change_request(&mut ctx, change)?,))
    })?;
    http.func_wrap(
        "[method]request.remove-header",
        |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
            let change =
                changed_name(&ctx, &args.1)?.map(|name| (Edit::RemoveRequestHeader(name), 0));
            Ok((change_request(&mut ctx, change)?,))
        },
    )?;
    http.func_wrap(
        "[method]request.set-method",
        |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
            let change =
                edit::method(&args.1.to_str(&ctx)?).map(|method| (Edit::SetMethod(method), 0));
            Ok((change_request(&mut ctx, change)?,))
        },
    )?;
    http.func_wrap(
        "[method]request.set-authority",
        |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
            let text = args.1.to_str(&ctx)?;
            let change = edit::authority(&text).map(|it| (Edit::SetAuthority(it), text.len()));
            drop(text);
            Ok((change_request(&mut ctx, change)?,))
        },
    )?;
    http.func_wrap(
        "[method]request.set-target",
        |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
            let text = args.1.to_str(&ctx)?;
            let change = edit::target(&text).map(|it| (Edit::SetTarget(it), text.len()));
            drop(text);
            Ok((change_request(&mut ctx, change)?,))
        },
    )
}

fn attributes(http: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    http.func_wrap(
        "[method]request.attribute",
        |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr)| {
            let key = args.1.to_str(&ctx)?.into_owned();
            let view = ctx.data_mut().view()?;
            let staged = view.staged.last(|edit| match edit {
                Edit::SetAttribute(name, value) if *name == key => Some(value.as_slice()),
                _ => None,
            });
            Ok((staged.or_else(|| view.exchange.attribute(&key)).map(<[u8]>::to_vec),))
        },
    )?;
    http.func_wrap(
        "[method]request.set-attribute",
        |mut ctx: Ctx<'_>, args: (ThisRequest, WasmStr, WasmList<u8>)| {
            let key = args.1.to_str(&ctx)?.into_owned();
            let value = args.2.as_le_slice(&ctx).to_vec();
            let bytes = key.len() + value.len();
            let view = ctx.data_mut().view()?;
            if view.staged.attributes_beside(view.exchange, &key) + bytes > MAX_ATTRIBUTES {
                return Ok((Err(HeadError::TooLarge),));
            }
            Ok((stage(&mut ctx, Ok((Edit::SetAttribute(key, value), bytes)))?,))
        },
    )
}

/// Stages a change of the request, which has its time on the way in.
fn change_request(
    ctx: &mut Ctx<'_>,
    change: Result<(Edit, usize), EditError>,
) -> wasmtime::Result<Changed> {
    match ctx.data_mut().view()?.exchange.response {
        Some(_) => Ok(Err(HeadError::Forbidden)),
        None => stage(ctx, change),
    }
}

fn slot(ctx: &mut Ctx<'_>, index: u32) -> wasmtime::Result<Result<HeaderName, EditError>> {
    let view = ctx.data_mut().view()?;
    let slot = view.slots.request.get(index as usize).ok_or_else(|| no_slot(index))?;
    Ok(slot.changed())
}

fn method(view: &View<'_>) -> String {
    let staged = view.staged.last(|edit| match edit {
        Edit::SetMethod(method) => Some(method),
        _ => None,
    });
    staged.unwrap_or(&view.exchange.request.method).as_str().to_owned()
}

fn staged_target<'a>(view: &'a View<'_>) -> Option<&'a portolan_core::target::Target> {
    view.staged.last(|edit| match edit {
        Edit::SetTarget(target) => Some(target),
        _ => None,
    })
}

fn version(version: Version) -> WitVersion {
    match version {
        Version::HTTP_2 => WitVersion::Http2,
        Version::HTTP_10 => WitVersion::Http10,
        _ => WitVersion::Http11,
    }
}

fn peer(view: &View<'_>) -> Peer {
    let peer = &view.exchange.peer;
    Peer {
        address: peer.address.ip().to_string(),
        port: peer.address.port(),
        tls: peer.tls,
        sni: peer.sni.as_deref().map(str::to_owned),
    }
}

/// As `http.wit` says.
const MAX_ATTRIBUTES: usize = 64 << 10;
