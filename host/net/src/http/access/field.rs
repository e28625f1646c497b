//! The fields of a line, with Traefik's names.
//!
//! **Invariant:** they stand in the order of their names, as in Traefik's JSON.

use super::config::Capture;

macro_rules! fields {
    ($($name:ident)+) => {
        /// A field of a line.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(missing_docs, reason = "each has the meaning of Traefik's field of its name")]
        pub enum Field {
            $($name,)+
        }

        impl Field {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            fn spelled(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

fields! {
    ClientAddr ClientHost ClientPort ClientUsername
    DownstreamContentSize DownstreamStatus
    Duration
    GzipRatio
    OriginContentSize OriginDuration OriginStatus Overhead
    Reason
    RequestAddr RequestContentSize RequestCount RequestHost RequestMethod RequestPath RequestPort
    RequestProtocol RequestScheme
    RetryAttempts RouterName
    ServiceAddr ServiceName ServiceURL SpanId
    StartLocal StartUTC
    TLSCipher TLSClientSubject TLSVersion TraceId
    EntryPointName OtelSpanId OtelTraceId
}

impl Field {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EntryPointName => "entryPointName",
            // Beside the older names, as in Traefik.
            Self::OtelSpanId => "span_id",
            Self::OtelTraceId => "trace_id",
            _ => self.spelled(),
        }
    }

    /// What stands for what each request has, where none could be read: readers of JSON look for these keys
    /// in every line.
    pub(super) fn unread(self) -> Option<&'static str> {
        match self {
            Self::RequestAddr
            | Self::RequestHost
            | Self::RequestMethod
            | Self::RequestPath
            | Self::RequestPort => Some("-"),
            Self::RequestProtocol => Some(NO_PROTOCOL),
            _ => None,
        }
    }
}

/// The protocol of what could not be read: readers of lines split it at its slash.
pub(super) const NO_PROTOCOL: &str = "HTTP/0.0";

/// What becomes of each field.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields([Capture; Field::ALL.len()]);

impl Fields {
    /// All are treated alike.
    pub fn all(capture: Capture) -> Self {
        Self([capture; Field::ALL.len()])
    }

    /// The same, but for this one.
    pub fn set(&mut self, field: Field, capture: Capture) {
        self.0[field as usize] = capture;
    }

    /// What becomes of a field.
    pub(super) fn of(&self, field: Field) -> Capture {
        self.0[field as usize]
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::all(Capture::Keep)
    }
}
