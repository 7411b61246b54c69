//! [`Observation`]: the core of the layer, one request at a time.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::Hub;
use crate::{Audit, Cursor, Origin, Revalidate};

/// The header that stamps a response with the cursor from before its data was read.
const CURSOR_HEADER: HeaderName = HeaderName::from_static("x-revalidate-cursor");
/// The header by which a client knows its own change when the news of it comes back.
const ID_HEADER: HeaderName = HeaderName::from_static("x-revalidate-id");

/// In the extensions of a request: where this hub stood before anything inside of its layer ran, the app's
/// authentication included. A grant that was made since then is checked against changes since then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    hub: usize,
    cursor: Cursor,
}

impl Seen {
    /// Where this hub stood; none if it was another's layer.
    pub(crate) fn by(hub: &Hub, extensions: &Extensions) -> Option<Cursor> {
        extensions.get::<Seen>().filter(|seen| seen.hub == hub.address()).map(|seen| seen.cursor)
    }
}

impl Hub {
    /// The core of the layer, for stacks whose layers are not tower's: call it before the inner service, and
    /// [`Observation::finish`] after.
    pub fn observe(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Observation {
        let mutates = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
        let audits = self.shared.options.audit_mutations && mutates;
        Observation {
            hub: self.clone(),
            origin: headers.get(ID_HEADER).and_then(|id| Origin::parse(id.as_bytes())),
            is_get: method == Method::GET,
            mutation: audits.then(|| (method.clone(), uri.clone())),
            // Before the inner service reads anything: what changes meanwhile is after it (PROTOCOL R8).
            cursor: self.cursor(),
        }
    }

    fn address(&self) -> usize {
        std::sync::Arc::as_ptr(&self.shared) as usize
    }
}

/// One request under the layer: what was known before the inner service ran.
#[derive(Debug)]
#[must_use = "call `finish` with the response"]
pub struct Observation {
    hub: Hub,
    origin: Option<Origin>,
    is_get: bool,
    /// What to tell the audit if the response says nothing.
    mutation: Option<(Method, Uri)>,
    cursor: Cursor,
}

impl Observation {
    /// Where the hub stood before the inner service ran.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Notes in a request where the hub stood. Of two layers of one hub the outer one counts.
    pub fn mark(&self, extensions: &mut Extensions) {
        if Seen::by(&self.hub, extensions).is_none() {
            extensions.insert(Seen { hub: self.hub.address(), cursor: self.cursor });
        }
    }

    /// Takes the [`Revalidate`] and the [`Change`](crate::Change)s out of a response and publishes them on 2xx and 3xx; stamps a successful GET
    /// with `X-Revalidate-Cursor`, unless it is an event stream or publicly cacheable.
    pub fn finish(self, status: StatusCode, headers: &mut HeaderMap, extensions: &mut Extensions) {
        let said = self.said(headers, extensions);
        let changes = crate::change::take(extensions);
        let (publishes, says_nothing) = (status.is_success() || status.is_redirection(), changes.is_empty());
        if publishes {
            // What is refused is told to the audit.
            changes.into_iter().for_each(|change| drop(self.hub.publish_change(change)));
        }
        match (said, self.mutation) {
            (Some(mut revalidate), _) => {
                revalidate.pledges.drain(..).for_each(|pledge| pledge.settle());
                if publishes {
                    self.hub.shared.publish_lenient(revalidate, self.origin);
                }
            }
            (None, Some((method, uri))) if status.is_success() && says_nothing => {
                self.hub.shared.audit(&Audit::Silent { method: &method, uri: &uri, status });
            }
            _ => {}
        }
        if self.is_get && status.is_success() && may_stamp(headers) {
            // A cursor is ASCII without control characters.
            if let Ok(cursor) = HeaderValue::try_from(self.cursor.to_string()) {
                headers.insert(CURSOR_HEADER, cursor);
            }
        }
    }
}

impl Observation {
    /// What the response says, by extension or by header; it is taken out of both.
    fn said(&self, headers: &mut HeaderMap, extensions: &mut Extensions) -> Option<Revalidate> {
        let said = extensions.remove::<Revalidate>();
        #[cfg(feature = "header")]
        if self.hub.shared.options.reads_header {
            return match (said, crate::header::take(headers)) {
                (Some(said), Some(more)) => Some(said.and(more)),
                (said, more) => said.or(more),
            };
        }
        let _ = headers;
        said
    }
}

/// A cursor on a response that a shared cache keeps would be given to strangers, long after.
fn may_stamp(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let is_stream =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| text(kind).starts_with("text/event-stream"));
    let is_public = headers.get_all(header::CACHE_CONTROL).iter().map(text).any(|control| {
        control.split(',').map(str::trim).any(|rule| rule == "public" || rule.starts_with("s-maxage"))
    });
    !is_stream && !is_public
}
