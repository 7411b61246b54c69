//! Where a request wants its stream to start.

use std::borrow::Cow;

use http::HeaderMap;

use crate::proto::Start;

/// The last value in a query under one of these names.
pub(crate) fn last<'a>(query: &'a str, names: &[&str]) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| names.contains(&&**name))
        .last()
        .map(|pair| pair.1)
}

/// The header that a browser sends by itself, else the query. An empty one is none (WHATWG HTML, 9.2.3).
pub(crate) fn start(headers: &HeaderMap, query: &str) -> Start {
    let asked = last(query, &["last_event_id", "lastEventId"]);
    let cursor = match headers.get("last-event-id").filter(|header| !header.is_empty()) {
        Some(header) => header.to_str().ok(),
        None => Some(asked.as_deref().unwrap_or_default()),
    };
    match cursor.map(str::trim) {
        Some("") => Start::Fresh,
        Some(cursor) => cursor.parse().map_or(Start::Strange, Start::At),
        None => Start::Strange,
    }
}
