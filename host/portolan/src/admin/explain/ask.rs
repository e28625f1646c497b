//! Asks a running Portolan, for the command line.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Explanation, Question};

/// An explanation is some kilobytes; more than this is not one.
const MAX_ANSWER: usize = 4 << 20;

/// Loopback, nothing to compute: whoever needs longer is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens there.
    #[error(
        "no Portolan answers at http://{address}: is it running, and is `admin.address` of this \
         configuration the one it was started with?"
    )]
    Connect {
        /// The admin address.
        address: SocketAddr,
        /// What happened.
        source: hyper_util::client::legacy::Error,
    },
    /// It did not answer in time.
    #[error("http://{address} took the connection but gave no answer within {} s", PATIENCE.as_secs())]
    Silent {
        /// The admin address.
        address: SocketAddr,
    },
    /// It said that it is not well: it ends, mostly. Or it is something else.
    #[error("http://{address}/ping answers {status}")]
    Unwell {
        /// The admin address.
        address: SocketAddr,
        /// What it said.
        status: http::StatusCode,
    },
    /// It said what is wrong with the question.
    #[error("{0}")]
    Refused(String),
    /// It answered, but not like a Portolan.
    #[error("http://{address} answers, but not like a Portolan: {what}")]
    Foreign {
        /// The admin address.
        address: SocketAddr,
        /// What it said instead.
        what: String,
    },
}

#[derive(Deserialize)]
struct Complaint {
    message: String,
}

/// Asks the Portolan whose admin API is bound to `address`, as in its configuration: an address
/// that means "all of them" is asked on loopback.
///
/// # Errors
///
/// When nothing answers there, or when the question makes no sense.
pub(crate) async fn ask(address: SocketAddr, question: &Question) -> Result<Explanation, AskError> {
    get(address, &path(question)).await
}

/// Reads a path of the admin API of the Portolan at `address`.
///
/// # Errors
///
/// As [`ask`].
pub(crate) async fn get<T: DeserializeOwned>(
    address: SocketAddr,
    path: &str,
) -> Result<T, AskError> {
    let address = reachable(address);
    let (status, body) = fetch_in_time(address, path).await?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| AskError::Foreign { address, what: error.to_string() });
    }
    match serde_json::from_slice::<Complaint>(&body) {
        Ok(complaint) => Err(AskError::Refused(complaint.message)),
        Err(_) => Err(AskError::Foreign { address, what: format!("status {status}") }),
    }
}

/// Asks the Portolan at `address` whether it is well; answers where it was asked.
///
/// # Errors
///
/// When it does not say that it is.
pub(crate) async fn ping(address: SocketAddr) -> Result<SocketAddr, AskError> {
    let address = reachable(address);
    match fetch_in_time(address, "/ping").await? {
        (http::StatusCode::OK, _) => Ok(address),
        (status, _) => Err(AskError::Unwell { address, status }),
    }
}

async fn fetch_in_time(
    address: SocketAddr,
    path: &str,
) -> Result<(http::StatusCode, Bytes), AskError> {
    let exchange = tokio::time::timeout(PATIENCE, fetch(address, path));
    exchange.await.map_err(|_elapsed| AskError::Silent { address })?
}

async fn fetch(address: SocketAddr, path: &str) -> Result<(http::StatusCode, Bytes), AskError> {
    let foreign = |what: String| AskError::Foreign { address, what };
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri: Uri = format!("http://{address}{path}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| foreign(error.to_string()))?;
    let answer = client.get(uri).await.map_err(|source| AskError::Connect { address, source })?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
        let what = if error.is::<LengthLimitError>() { "endless" } else { "the answer broke off" };
        foreign(what.to_owned())
    })?;
    Ok((status, body.to_bytes()))
}

fn path(question: &Question) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("method", &question.method).append_pair("url", &question.url);
    for (name, value) in &question.headers {
        query.append_pair("header", &format!("{name}: {value}"));
    }
    for (key, value) in [("client", &question.client), ("entrypoint", &question.entrypoint)] {
        if !value.is_empty() {
            query.append_pair(key, value);
        }
    }
    format!("/api/explain?{}", query.finish())
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
