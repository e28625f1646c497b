//! Headers as one list of bytes, as `request-slots-hook` has them: to an instance and back.
//!
//! **Invariant:** of a guest's changes all are applied, or none.

use portolan_core::{
    edit::{self, Edit},
    exchange::Exchange,
};

use crate::{
    guest::{Guest, Slot},
    staging::Side,
};

impl Guest {
    /// The headers that a binding numbers, those of them that are there. `place` is that of the
    /// binding in `configured`.
    pub(crate) fn packed(&self, place: usize, side: Side, exchange: &Exchange) -> Option<Vec<u8>> {
        let mut packed = Vec::new();
        for (number, slot) in (0_u32..).zip(self.slots(place, side)) {
            let value = self.staged.first(side, exchange, &slot.name);
            let Some(value) = value else { continue };
            // What does not fit into the guest does not fit into a head either.
            let Ok(length) = u32::try_from(value.len()) else { continue };
            packed.reserve(ENTRY + value.len());
            packed.extend_from_slice(&number.to_le_bytes());
            packed.extend_from_slice(&length.to_le_bytes());
            packed.extend_from_slice(value);
        }
        (!packed.is_empty()).then_some(packed)
    }

    /// Changes headers that a binding numbers as a guest says, or says what is wrong with that.
    pub(crate) fn change(
        &mut self,
        place: usize,
        (side, changes): (Side, &[u8]),
        exchange: &mut Exchange,
    ) -> Result<(), String> {
        let staged = self.stage(place, side, changes);
        match staged {
            Ok(()) => self.staged.commit(exchange),
            Err(_) => self.staged.discard(),
        }
        staged
    }

    /// The same for a request, with what is to be changed of its response when that comes.
    pub(crate) fn change_both(
        &mut self,
        place: usize,
        (request, response): (&[u8], &[u8]),
        exchange: &mut Exchange,
    ) -> Result<Vec<Edit>, String> {
        if response.is_empty() {
            return self.change(place, (Side::Request, request), exchange).map(|()| Vec::new());
        }
        let staged = self.stage(place, Side::Request, request).and_then(|()| {
            let now = self.staged.len();
            self.stage(place, Side::Response, response).map(|()| now)
        });
        match staged {
            Ok(now) => {
                let later = self.staged.split_off(now);
                self.staged.commit(exchange);
                Ok(later)
            }
            Err(error) => {
                self.staged.discard();
                Err(error)
            }
        }
    }

    fn stage(&mut self, place: usize, side: Side, mut changes: &[u8]) -> Result<(), String> {
        while !changes.is_empty() {
            let ((number, value), rest) = entry(changes).ok_or("its changes end in the middle")?;
            let slot = self.slots(place, side).get(number as usize);
            let slot = slot.ok_or_else(|| format!("it numbers no header {number}"))?;
            let edit = change(slot, side, value)
                .map_err(|error| format!("the header `{}`: {error}", slot.name))?;
            let bytes = slot.name.as_str().len() + value.map_or(0, <[u8]>::len);
            let staged = self.staged.push(edit, bytes);
            staged.map_err(|_too_large| "it changes more than 64 KiB")?;
            changes = rest;
        }
        Ok(())
    }

    fn slots(&self, place: usize, side: Side) -> &[Slot] {
        match (self.configured.get(place), side) {
            (None, _) => &[],
            (Some(binding), Side::Request) => &binding.slots.request,
            (Some(binding), Side::Response) => &binding.slots.response,
        }
    }
}

fn change(slot: &Slot, side: Side, value: Option<&[u8]>) -> Result<Edit, edit::EditError> {
    let name = slot.changed()?;
    let value = value.map(edit::header_value).transpose()?;
    Ok(match (side, value) {
        (Side::Request, Some(value)) => Edit::SetRequestHeader(name, value),
        (Side::Request, None) => Edit::RemoveRequestHeader(name),
        (Side::Response, Some(value)) => Edit::SetResponseHeader(name, value),
        (Side::Response, None) => Edit::RemoveResponseHeader(name),
    })
}

/// A header by its number, and its value; `None`: removed.
type Entry<'a> = (u32, Option<&'a [u8]>);

/// The first entry, and what comes after it.
fn entry(packed: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (number, rest) = packed.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (value, rest) = match u32::from_le_bytes(*length) {
        REMOVED => (None, rest),
        length => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            (Some(value), rest)
        }
    };
    Some(((u32::from_le_bytes(*number), value), rest))
}

/// The length that stands for removing.
const REMOVED: u32 = u32::MAX;

/// What an entry takes besides the value.
const ENTRY: usize = 8;
