//! What only the start needed, and lies in memory for nothing.

use std::{fs, ops::Range};

use super::embedded::PLUGINS;

/// Lets the system have the memory back into which the program was read: the plugins in it are loaded,
/// and most of the code that ran so far does not run again. Who needs a page of it after all reads it
/// from the file once more.
pub(super) fn let_go() {
    for (_, bytes) in PLUGINS {
        let bytes = bytes.as_ptr_range();
        forget(bytes.start as usize..bytes.end as usize);
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.to_str().filter(|path| !path.is_empty());
    program.into_iter().flat_map(|program| code(&maps, program)).for_each(forget);
}

/// Where the code of a program lies, by `/proc/self/maps` (proc(5)). What may be written to, or was
/// before it was made read-only, is not among it.
fn code<'m>(maps: &'m str, program: &'m str) -> impl Iterator<Item = Range<usize>> + 'm {
    maps.lines().filter_map(move |line| {
        let (range, rest) = line.split_once(' ')?;
        (rest.starts_with("r-xp ") && rest.trim_end().ends_with(program)).then_some(())?;
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(address(start)?..address(end)?)
    })
}

/// The whole pages of a range that is only ever read.
#[expect(unsafe_code, reason = "the standard library has none of these calls")]
fn forget(range: Range<usize>) {
    // SAFETY: it only answers a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else { return };
    // What shares a page with something else stays.
    let (start, end) = (range.start.next_multiple_of(page), range.end / page * page);
    if start < end {
        // SAFETY: nothing writes to these pages, so what is read there next is what the file holds.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_the_program_itself_is_let_go() {
        let maps = "\
            55d0a0000000-55d0a0100000 r--p 00000000 fe:00 7 /usr/bin/portolan\n\
            55d0a0100000-55d0a0200000 r-xp 00100000 fe:00 7 /usr/bin/portolan\n\
            55d0a0200000-55d0a0300000 rw-p 00200000 fe:00 7 /usr/bin/portolan\n\
            7f0000000000-7f0000100000 r-xp 00000000 fe:00 8 /usr/lib/libc.so.6\n\
            7f0000200000-7f0000300000 r-xp 00000000 00:00 0 \n\
            garbage\n";
        let mut found = code(maps, "/usr/bin/portolan");
        assert_eq!(found.next(), Some(0x55d0_a010_0000..0x55d0_a020_0000));
        assert_eq!(found.next(), None);
    }

    #[test]
    fn what_was_let_go_is_there_again_when_it_is_read() {
        let before: Vec<_> = PLUGINS.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        let_go();
        let after = PLUGINS.iter().map(|(_, bytes)| bytes.to_vec());
        assert!(before.iter().all(|bytes| bytes.starts_with(b"\0asm")));
        assert!(after.eq(before));
    }
}
