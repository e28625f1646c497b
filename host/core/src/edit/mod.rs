//! Changes to a request or response, and the rules of which ones are allowed.
//!
//! **Invariant:** an [`Edit`] that exists was checked, so applying edits cannot fail, and either
//! all of a list are applied or none.

use std::sync::Arc;

use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{HOST, SET_COOKIE},
    uri::PathAndQuery,
};

use crate::{
    exchange::{Exchange, Headers, cookie_set_by, is_of_connection},
    target::{Authority, Target},
};

/// A checked change.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Replaces all lines of a request header by one.
    SetRequestHeader(HeaderName, HeaderValue),
    /// Adds a line to a request header.
    AppendRequestHeader(HeaderName, HeaderValue),
    /// Removes all lines of a request header.
    RemoveRequestHeader(HeaderName),
    /// Replaces all lines of a response header by one.
    SetResponseHeader(HeaderName, HeaderValue),
    /// Adds a line to a response header.
    AppendResponseHeader(HeaderName, HeaderValue),
    /// Removes all lines of a response header.
    RemoveResponseHeader(HeaderName),
    /// Changes the method.
    SetMethod(Method),
    /// Changes host and port.
    SetAuthority(Authority),
    /// Changes path and query.
    SetTarget(Target),
    /// Replaces the cookies of these names that a response sets by those lines.
    SetCookies(Arc<[String]>, Vec<HeaderValue>),
    /// Changes the status of the response.
    SetStatus(StatusCode),
    /// Leaves something for other middlewares.
    SetAttribute(String, Vec<u8>),
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EditError {
    /// Not a valid name or value.
    #[error("not a valid name or value")]
    Invalid,
    /// The host's own.
    #[error("not for plugins to change")]
    Forbidden,
}

/// The name of a header that may be changed: not `host`, which is changed by [`authority`], and
/// not a header of the connection.
pub fn header_name(name: &[u8]) -> Result<HeaderName, EditError> {
    let name = HeaderName::from_bytes(name).map_err(|_invalid| EditError::Invalid)?;
    match name == HOST || is_of_connection(&name) {
        true => Err(EditError::Forbidden),
        false => Ok(name),
    }
}

/// The value of a header.
pub fn header_value(value: &[u8]) -> Result<HeaderValue, EditError> {
    HeaderValue::from_bytes(value).map_err(|_invalid| EditError::Invalid)
}

/// A method. `CONNECT` makes another thing of the request, so it is refused.
pub fn method(method: &str) -> Result<Method, EditError> {
    match Method::from_bytes(method.as_bytes()) {
        Ok(Method::CONNECT) => Err(EditError::Forbidden),
        Ok(method) => Ok(method),
        Err(_) => Err(EditError::Invalid),
    }
}

/// Host and port.
pub fn authority(authority: &str) -> Result<Authority, EditError> {
    let value = header_value(authority.as_bytes())?;
    match authority.is_empty() {
        true => Err(EditError::Invalid),
        false => Authority::parse(value).map_err(|_bad| EditError::Invalid),
    }
}

/// Path and query, of which the path starts with a slash.
pub fn target(target: &str) -> Result<Target, EditError> {
    let sent: PathAndQuery = target.parse().map_err(|_invalid| EditError::Invalid)?;
    match target.starts_with('/') && !target.contains('#') {
        true => Target::parse(sent).map_err(|_bad| EditError::Invalid),
        false => Err(EditError::Invalid),
    }
}

/// The status of a final response, 200 to 599.
pub fn status(status: u16) -> Result<StatusCode, EditError> {
    match status {
        200..=599 => StatusCode::from_u16(status).map_err(|_invalid| EditError::Invalid),
        _ => Err(EditError::Invalid),
    }
}

/// Applies changes in order. Those to a response that is not there are left out.
pub fn apply(edits: impl IntoIterator<Item = Edit>, exchange: &mut Exchange) {
    for edit in edits {
        edit.apply(exchange);
    }
}

impl Edit {
    /// Applies the change. One to a response that is not there is left out.
    pub fn apply(self, exchange: &mut Exchange) {
        let request = &mut exchange.request;
        let response = exchange.response.as_mut();
        match self {
            Self::SetRequestHeader(name, value) => request.headers.set(&name, &value),
            Self::AppendRequestHeader(name, value) => request.headers.add(&name, &value),
            Self::RemoveRequestHeader(name) => request.headers.take_out(&name),
            Self::SetMethod(method) => request.method = method,
            Self::SetAuthority(authority) => request.set_authority(authority),
            Self::SetTarget(target) => request.set_target(target),
            Self::SetAttribute(key, value) => exchange.set_attribute(key, value),
            Self::SetResponseHeader(name, value) => {
                if let Some(response) = response {
                    response.headers.set(&name, &value);
                }
            }
            Self::AppendResponseHeader(name, value) => {
                if let Some(response) = response {
                    response.headers.add_to_response(&name, &value);
                }
            }
            Self::RemoveResponseHeader(name) => {
                if let Some(response) = response {
                    response.headers.take_out(&name);
                }
            }
            Self::SetCookies(names, lines) => {
                if let Some(response) = response {
                    set_cookies(&mut response.headers, &names, lines);
                }
            }
            Self::SetStatus(status) => {
                if let Some(response) = response {
                    response.status = status;
                }
            }
        }
    }
}

fn set_cookies(headers: &mut Headers, names: &[String], lines: Vec<HeaderValue>) {
    let is_other =
        |line: &&HeaderValue| names.iter().all(|name| name.as_bytes() != cookie_set_by(line));
    let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().filter(is_other).cloned().collect();
    headers.take_out(&SET_COOKIE);
    kept.iter().chain(&lines).for_each(|line| headers.add(&SET_COOKIE, line));
}

#[cfg(test)]
mod tests;
