//! Who may ask: pages of this server, and programs on this machine. A browser lets any page send requests to
//! 127.0.0.1, and a name can be made to point there, so both `Host` and `Origin` are looked at.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::pages::PageError;

/// The header that changing requests carry; a form of a foreign page cannot send it.
pub const CHANGES: &str = "x-trimkv-trace";
/// Name of the cookie that holds the token, before the port: cookies do not tell ports apart.
const COOKIE_NAME: &str = "trimkv-trace-";

const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'";

/// What a request must show.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Values of `Host` that are this server; empty when it answers to every name, as it does with a token on all
    /// interfaces.
    pub hosts: Vec<String>,
    /// What every request must know, where others than this machine can reach the server.
    pub token: Option<String>,
    /// Name of the cookie that holds it.
    cookie: String,
}

impl Guard {
    /// For a server that listens on `address`.
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        let port = address.port();
        let mut names = vec!["127.0.0.1".to_owned(), "localhost".to_owned(), "[::1]".to_owned()];
        match address {
            SocketAddr::V4(v4) => names.push(v4.ip().to_string()),
            SocketAddr::V6(v6) => names.push(format!("[{}]", v6.ip())),
        }
        let any_name = token.is_some() && address.ip().is_unspecified();
        let with_port = names.iter().map(|name| format!("{name}:{port}"));
        let bare = names.iter().filter(|_| port == 80).cloned();
        Self {
            hosts: if any_name { Vec::new() } else { with_port.chain(bare).collect() },
            token,
            cookie: format!("{COOKIE_NAME}{port}"),
        }
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        let uri_host = request.uri().authority().map(|authority| authority.as_str());
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(uri_host).unwrap_or_default();
        if !self.hosts.is_empty() && !self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) {
            return Err(ApiError::Forbidden(format!("this server is not {host:?}; open the address it printed")));
        }
        if let Some(origin) = headers.get(ORIGIN) {
            let own = format!("http://{host}");
            if !origin.to_str().is_ok_and(|origin| origin.eq_ignore_ascii_case(&own)) {
                return Err(ApiError::Forbidden("this request comes from another site's page".to_owned()));
            }
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !reads && headers.get(CHANGES).is_none_or(|value| value != "1") {
            return Err(ApiError::Forbidden(format!("requests that change something carry the header {CHANGES}: 1")));
        }
        match &self.token {
            Some(token) if !knows(token, &self.cookie, headers, request.uri().query()) => Err(ApiError::Forbidden(
                "this server asks for its token; open the address it printed, token included".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

fn knows(token: &str, cookie: &str, headers: &HeaderMap, query: Option<&str>) -> bool {
    let is_it = |given: &str| same(given.as_bytes(), token.as_bytes());
    let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut from_cookie = cookies.filter_map(|pair| pair.trim().strip_prefix(cookie)?.strip_prefix('='));
    from_cookie.any(is_it) || in_query(query).is_some_and(is_it)
}

/// Whether it is a person who looks: browsers ask for pages by name, scripts and programs do not.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    accepted.flat_map(|line| line.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

fn in_query(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// Refuses strangers, and says to browsers what a page may load.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let is_hidden = request.uri().path().starts_with("/api/") || request.uri().path() == "/";
    let by_query = guard.token.as_ref().filter(|_| in_query(request.uri().query()).is_some()).cloned();
    let cookie_name = &guard.cookie;
    let wants_page = wants_page(request.headers());
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) if wants_page => return with_headers(PageError::from(error).into_response(), true),
        Err(error) => return with_headers(error.into_response(), true),
    };
    if let Some(token) = by_query {
        let cookie = format!("{cookie_name}={token}; Path=/; HttpOnly; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
    }
    with_headers(response, is_hidden)
}

fn with_headers(mut response: Response, changes_often: bool) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    };
    set("content-security-policy", POLICY);
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    set("cross-origin-resource-policy", "same-origin");
    set("cross-origin-opener-policy", "same-origin");
    set("cache-control", if changes_often { "no-store" } else { "no-cache" });
    response
}
