//! `GET {mount}/client.js`, `worker.js`, `auto.js`: the browser client, as it was built and committed.
//!
//! The files are the same for everyone and are served whatever the grant. Who asks for one by the hash of what it
//! holds, as the client asks for its worker, may keep it for ever; anyone else asks again each time and is mostly told
//! that nothing changed.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::other_method;
use crate::SseBody;
use crate::stream::last;

struct Asset {
    path: &'static str,
    hash: &'static str,
    etag: &'static str,
    body: &'static [u8],
}

static ASSETS: [Asset; 3] = include!("../../client/dist/assets.rs");

/// Answers, where one of the files has this path.
pub(super) fn answer(path: &str, parts: &Parts) -> Option<Response<SseBody>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    Some(match parts.method {
        Method::GET | Method::HEAD => asset.answer(parts),
        _ => other_method(&parts.method, "GET, HEAD, OPTIONS", "files are read with GET"),
    })
}

impl Asset {
    fn answer(&self, parts: &Parts) -> Response<SseBody> {
        let query = parts.uri.query().unwrap_or_default();
        let is_this_version = last(query, &["v"]).is_some_and(|version| version == self.hash);
        let cache_control = if is_this_version { "public, max-age=31536000, immutable" } else { "no-cache" };
        let is_known = names(&parts.headers, self.etag);
        let body = match parts.method {
            Method::GET if !is_known => SseBody::once(self.body),
            _ => SseBody::empty(),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        // What a 304 has of them refreshes what is cached (RFC 9110, 15.4.5).
        headers.insert(header::ETAG, HeaderValue::from_static(self.etag));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// Whether `If-None-Match` names the entity (RFC 9110, 13.1.2), by the weak comparison: caches that compress on their
/// way make a strong tag weak. Split at each comma: a tag may hold one, but no quote, so that no part of it is ours.
fn names(headers: &HeaderMap, etag: &str) -> bool {
    let mut tags = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}
