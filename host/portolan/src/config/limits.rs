//! `[entrypoints.<name>.timeouts]`, `.limits`, `.http2` and `.encoded-characters`: how far clients may go,
//! as it is written and as it is meant.
//!
//! **Invariant:** a value that would lock everybody out, or hold nobody back, is said at its place.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use portolan_net::http::{
    ClientTimeouts, EncodedCharacter, EncodedCharacters, Http2Limits, Limits,
};
use toml::Spanned;

use super::{
    quantity::ByteSize,
    read::{Reading, table},
    report::Finding,
    schema::unplaced,
};

table! {
    /// `[entrypoints.<name>.timeouts]`
    pub(super) struct Timeouts {
        handshake: Spanned<Duration> = seconds(10),
        header: Spanned<Duration> = seconds(15),
        request_stall: Spanned<Duration> = seconds(60),
        response_stall: Spanned<Duration> = seconds(60),
        idle: Spanned<Duration> = seconds(180),
        /// 0: never.
        tunnel_idle: Spanned<Duration> = seconds(3600),
    }
}

table! {
    /// `[entrypoints.<name>.limits]`
    pub(super) struct Amounts {
        max_header_bytes: Spanned<ByteSize> = unplaced(ByteSize(128 << 10)),
        max_headers: Spanned<u32> = unplaced(100),
        max_connections: Spanned<u32> = unplaced(50_000),
        /// `None`: half of all. 0: no limit, here and below, as in Traefik.
        max_connections_per_client: Option<u32> = None,
        keep_alive_max_requests: Spanned<u32> = unplaced(0),
        keep_alive_max_time: Spanned<Duration> = seconds(0),
    }
}

table! {
    /// `[entrypoints.<name>.http2]`
    pub(super) struct Http2 {
        max_concurrent_streams: Spanned<u32> = unplaced(250),
        max_resets: Spanned<u32> = unplaced(500),
        max_control_frames: Spanned<u32> = unplaced(1000),
        /// 0: never.
        ping_interval: Spanned<Duration> = seconds(60),
        ping_timeout: Spanned<Duration> = seconds(20),
    }
}

table! {
    /// `[entrypoints.<name>.encoded-characters]`
    pub(super) struct Encoded {
        allow_encoded_slash: bool = true,
        allow_encoded_back_slash: bool = true,
        /// Never; that it is here is for those who come from Traefik.
        allow_encoded_null_character: Spanned<bool> = unplaced(false),
        allow_encoded_semicolon: bool = true,
        allow_encoded_percent: bool = true,
        allow_encoded_question_mark: bool = true,
        allow_encoded_hash: bool = true,
    }
}

/// The four tables of one entrypoint, and what stands beside them.
pub(super) struct Tables {
    pub(super) timeouts: Timeouts,
    pub(super) amounts: Amounts,
    pub(super) http2: Http2,
    pub(super) encoded: Encoded,
    pub(super) encode_query_semicolons: bool,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn seconds(seconds: u64) -> Spanned<Duration> {
    unplaced(Duration::from_secs(seconds))
}

/// The limits of the entrypoint with this name.
pub(super) fn limits(name: &str, tables: &Tables, reading: &mut Reading<'_>) -> Limits {
    let Tables { timeouts, amounts, http2, encoded, encode_query_semicolons } = tables;
    let mut check = Check { entrypoint: name, reading };
    let header_bytes = check.within(
        "limits.max-header-bytes",
        &amounts.max_header_bytes,
        ByteSize(8 << 10)..=ByteSize(1 << 20),
        ["8KiB", "1MiB"],
    );
    Limits {
        timeouts: check.timeouts(timeouts),
        // At most a mebibyte.
        max_header_bytes: usize::try_from(header_bytes.0).unwrap_or_default(),
        max_headers: check.number("limits.max-headers", &amounts.max_headers, 1..=MOST_HEADERS)
            as usize,
        max_connections: check.number(
            "limits.max-connections",
            &amounts.max_connections,
            1..=10_000_000,
        ) as usize,
        max_connections_per_client: match amounts.max_connections_per_client {
            // One client alone cannot take every place.
            None => Some(amounts.max_connections.get_ref().div_ceil(2)),
            Some(most) => some(&most),
        },
        keep_alive_max_requests: some(amounts.keep_alive_max_requests.get_ref()),
        keep_alive_max_time: check
            .rarely("limits.keep-alive-max-time", &amounts.keep_alive_max_time),
        http2: check.http2(http2),
        encoded_characters: check.encoded(encoded),
        encode_query_semicolons: *encode_query_semicolons,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is some hundred")]
const MOST_HEADERS: u32 = Limits::MOST_HEADERS as u32;

fn some(number: &u32) -> Option<u32> {
    Some(*number).filter(|number| *number > 0)
}

/// Says what makes no sense.
struct Check<'c, 'r> {
    entrypoint: &'c str,
    reading: &'c mut Reading<'r>,
}

impl Check<'_, '_> {
    fn timeouts(&mut self, timeouts: &Timeouts) -> ClientTimeouts {
        let Timeouts { handshake, header, request_stall, response_stall, idle, tunnel_idle } =
            timeouts;
        ClientTimeouts {
            handshake: self.duration("timeouts.handshake", handshake),
            header: self.duration("timeouts.header", header),
            request_stall: self.duration("timeouts.request-stall", request_stall),
            response_stall: self.duration("timeouts.response-stall", response_stall),
            idle: self.duration("timeouts.idle", idle),
            tunnel_idle: self.rarely("timeouts.tunnel-idle", tunnel_idle),
        }
    }

    fn http2(&mut self, http2: &Http2) -> Http2Limits {
        let streams = &http2.max_concurrent_streams;
        Http2Limits {
            max_concurrent_streams: self.number(
                "http2.max-concurrent-streams",
                streams,
                1..=10_000,
            ),
            max_resets: self.number("http2.max-resets", &http2.max_resets, 1..=1_000_000),
            max_control_frames: self.number(
                "http2.max-control-frames",
                &http2.max_control_frames,
                10..=1_000_000,
            ),
            ping_interval: self.rarely("http2.ping-interval", &http2.ping_interval),
            ping_timeout: self.duration("http2.ping-timeout", &http2.ping_timeout),
        }
    }

    fn encoded(&mut self, encoded: &Encoded) -> EncodedCharacters {
        use EncodedCharacter as C;
        let nul = &encoded.allow_encoded_null_character;
        if *nul.get_ref() {
            let message = "an encoded NUL is never allowed in a path";
            let hint = "it ends the path for some backends and not for others";
            self.reading.add(Finding::error(nul.span(), message).hint(hint));
        }
        let allowed = [
            (C::Slash, encoded.allow_encoded_slash),
            (C::BackSlash, encoded.allow_encoded_back_slash),
            (C::Semicolon, encoded.allow_encoded_semicolon),
            (C::Percent, encoded.allow_encoded_percent),
            (C::QuestionMark, encoded.allow_encoded_question_mark),
            (C::Hash, encoded.allow_encoded_hash),
        ];
        let refused = allowed.into_iter().filter(|(_, is_allowed)| !is_allowed);
        refused.fold(EncodedCharacters::default(), |all, (one, _)| all.refusing(one))
    }

    /// Of what must be: a second at least.
    fn duration(&mut self, key: &str, value: &Spanned<Duration>) -> Duration {
        self.within(key, value, SECOND..=HOUR, ["1s", "1h"])
    }

    /// Of what need not be: `0s` is never.
    fn rarely(&mut self, key: &str, value: &Spanned<Duration>) -> Option<Duration> {
        let is_wanted = !value.get_ref().is_zero();
        is_wanted.then(|| self.within(key, value, SECOND..=DAY, ["1s, or \"0s\" for none", "1d"]))
    }

    fn number(&mut self, key: &str, value: &Spanned<u32>, range: RangeInclusive<u32>) -> u32 {
        let ends = [range.start().to_string(), range.end().to_string()];
        self.within(key, value, range, ends)
    }

    fn within<T: Copy + PartialOrd>(
        &mut self,
        key: &str,
        value: &Spanned<T>,
        range: RangeInclusive<T>,
        [least, most]: [impl Display; 2],
    ) -> T {
        if !range.contains(value.get_ref()) {
            let message = format!("`entrypoints.{}.{key}` is out of range", self.entrypoint);
            let finding = Finding::error(value.span(), message);
            self.reading.add(finding.hint(format!("at least {least}, at most {most}")));
        }
        *value.get_ref()
    }
}
