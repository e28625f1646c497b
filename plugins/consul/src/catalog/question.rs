//! Questions to Consul, and good answers.

use serde::de::DeserializeOwned;

/// What is asked about.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Subject {
    /// `/v1/catalog/services`
    Services,
    /// `/v1/catalog/nodes`
    Nodes,
    /// `/v1/catalog/datacenters`
    Datacenters,
    /// `/v1/health/state/any`, when services are too many to be watched.
    Checks,
    /// `/v1/health/service/consul`, wherever the agent is.
    Home,
    /// `/v1/health/service/<name>`
    Service(String),
}

/// A question to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    pub(crate) subject: Subject,
    /// The index to block on; none: the answer comes at once.
    pub(crate) index: Option<u64>,
    /// Names the question.
    pub(crate) serial: u64,
}

/// A good answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// `x-consul-index`
    pub(crate) index: Option<u64>,
    pub(crate) body: Vec<u8>,
    /// Whether whoever answers says of other datacenters where things are for the world outside of
    /// them (`translate_wan_addrs`).
    pub(crate) translates: bool,
    /// What its headers say that a person should know.
    pub(crate) remark: Option<String>,
}

impl Subject {
    /// The path of the question.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Services => "/v1/catalog/services".to_owned(),
            Self::Nodes => "/v1/catalog/nodes".to_owned(),
            Self::Datacenters => "/v1/catalog/datacenters".to_owned(),
            Self::Checks => "/v1/health/state/any".to_owned(),
            Self::Home => "/v1/health/service/consul".to_owned(),
            Self::Service(name) => format!("/v1/health/service/{}", percent_encoded(name)),
        }
    }
}

/// RFC 3986, 2.3: what is not unreserved is encoded.
pub(crate) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

pub(crate) fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, String> {
    serde_json::from_slice(&answer.body).map_err(|error| format!("answers nonsense: {error}"))
}
