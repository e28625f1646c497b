//! Compresses bytes as they come.
//!
//! What an encoder takes of our memory, while its response lasts: gzip 0.5 MiB, brotli and zstd 2 MiB; less
//! where the content is known to be short.
//!
//! **Invariant:** what it needs does not grow with what it is given, as long as its output is taken.

use std::{
    fmt,
    io::{self, Write},
};

use brotli::{CompressorWriter as Brotli, enc::BrotliEncoderParams};
use flate2::{Compression, write::GzEncoder as Gzip};
use portolan_core::compress::Coding;
use zstd::stream::write::Encoder as Zstd;

/// The levels cost about as much as each other per byte saved: gzip 90 MB/s of text (Go's level), brotli the same
/// and zstd (its own) thrice that.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: i32 = 4;
/// Half as fast and a twentieth smaller, where all of it is in the window: beyond that it is worse than the other.
const BROTLI_QUALITY_OF_PAGES: i32 = 5;
/// How far back repetitions are found, as a power of two: 256 KiB, which is all of nearly every page and script.
const WINDOW: u8 = 18;
/// How much brotli gathers before it gives something, so that this is bounded: by itself it would be many times
/// its window.
const BROTLI_GATHERS: u64 = 64 * 1024;

/// Compresses what it is given.
pub(crate) struct Encoder {
    kind: Kind,
    /// How much was given since the last flush.
    unflushed: u64,
}

enum Kind {
    Gzip(Box<Gzip<Vec<u8>>>),
    Brotli(Box<Brotli<Vec<u8>>>),
    Zstd(Box<Zstd<'static, Vec<u8>>>),
}

impl Encoder {
    /// One for content of that length; `None`: nobody knows.
    pub(crate) fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        let kind = match coding {
            Coding::Gzip => {
                Kind::Gzip(Box::new(Gzip::new(Vec::new(), Compression::new(GZIP_LEVEL))))
            }
            Coding::Brotli => Kind::Brotli(Box::new(brotli(length))),
            Coding::Zstd => {
                let mut encoder = Zstd::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW.into())?;
                // It makes do with less then.
                encoder.set_pledged_src_size(length)?;
                Kind::Zstd(Box::new(encoder))
            }
        };
        Ok(Self { kind, unflushed: 0 })
    }

    /// Takes a piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.unflushed += piece.len() as u64;
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.write_all(piece),
            Kind::Zstd(encoder) => encoder.write_all(piece),
            Kind::Brotli(encoder) => {
                encoder.write_all(piece)?;
                if self.unflushed >= BROTLI_GATHERS { self.flush() } else { Ok(()) }
            }
        }
    }

    /// Gives all that it was given, so that it can be read now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unflushed) == 0 {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.flush(),
            Kind::Brotli(encoder) => encoder.flush(),
            Kind::Zstd(encoder) => encoder.flush(),
        }
    }

    /// What it has given, for who takes it out.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// Ends, and gives the rest.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.kind {
            Kind::Gzip(encoder) => encoder.finish(),
            Kind::Brotli(encoder) => Ok(encoder.into_inner()),
            Kind::Zstd(encoder) => encoder.finish(),
        }
    }
}

fn brotli(length: Option<u64>) -> Brotli<Vec<u8>> {
    let short = length.and_then(|length| usize::try_from(length).ok());
    let short = short.filter(|length| *length <= 1 << WINDOW);
    let params = BrotliEncoderParams {
        quality: if short.is_some() { BROTLI_QUALITY_OF_PAGES } else { BROTLI_QUALITY },
        lgwin: WINDOW.into(),
        size_hint: short.unwrap_or(0),
        ..BrotliEncoderParams::default()
    };
    Brotli::with_params(Vec::new(), 4096, &params)
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = match self.kind {
            Kind::Gzip(_) => Coding::Gzip,
            Kind::Brotli(_) => Coding::Brotli,
            Kind::Zstd(_) => Coding::Zstd,
        };
        f.debug_struct("Encoder").field("coding", &coding).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read;

    use super::*;

    /// What was compressed, as far as it has come.
    pub(crate) fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        let mut reader: Box<dyn Read> = match coding {
            Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        };
        let mut room = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut room) {
            content.extend_from_slice(&room[..length]);
        }
        content
    }

    /// Whether what was compressed is whole.
    pub(crate) fn is_whole(coding: Coding, bytes: &[u8]) -> bool {
        let read = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut Vec::new()),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut Vec::new()),
            Coding::Zstd => {
                zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut Vec::new())
            }
        };
        read.is_ok()
    }

    /// Text that repeats itself, but not all the time.
    pub(crate) fn text(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{} ", state >> 20)
        };
        let mut text = String::with_capacity(length + 8);
        while text.len() < length {
            text.push_str(&word());
        }
        text.truncate(length);
        text.into_bytes()
    }

    #[test]
    fn what_goes_in_comes_out_whatever_is_known_of_its_length() {
        for coding in Coding::ALL {
            for length in [1, 1023, 70_000, 600_000] {
                for known in [None, Some(length as u64)] {
                    let content = text(length);
                    let mut encoder = Encoder::new(coding, known).unwrap();
                    let mut given = Vec::new();
                    for piece in content.chunks(16 * 1024) {
                        encoder.write(piece).unwrap();
                        let output = std::mem::take(encoder.output());
                        assert!(output.len() < 160 * 1024, "{coding:?} gave {}", output.len());
                        given.extend(output);
                    }
                    given.extend(encoder.finish().unwrap());
                    assert!(decoded(coding, &given) == content, "{coding:?} {length} {known:?}");
                    assert!(is_whole(coding, &given));
                    assert!(length < 1000 || given.len() < length * 3 / 5, "{}", given.len());
                }
            }
        }
    }

    #[test]
    fn what_is_flushed_can_be_read() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, None).unwrap();
            let mut given = Vec::new();
            for (piece, so_far) in [("one ", "one "), ("two", "one two")] {
                encoder.write(piece.as_bytes()).unwrap();
                encoder.flush().unwrap();
                given.append(encoder.output());
                assert_eq!(decoded(coding, &given), so_far.as_bytes(), "{coding:?}");
                assert!(!is_whole(coding, &given));
            }
            encoder.flush().unwrap();
            assert!(encoder.output().is_empty(), "{coding:?}: there was nothing to flush");
        }
    }
}
