//! [`Revalidate`]: what a handler says with its response; [`RevalidateExt`]: how it says so.

use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, Response};

use crate::hub::PledgeGuard;
use crate::key::IntoQueryKey;
use crate::{IntoName, KeyError, NameError, QueryKey, Scope};

/// What became stale, and for whom: the response extension that the [`RevalidateLayer`](crate::RevalidateLayer)
/// takes and publishes.
///
/// Constructors never fail and never panic, for a handler has nobody to tell. A part of a key that cannot be
/// serialised cuts the key to the prefix before it; a refused audience is nobody. The layer logs each at
/// `error`, and [`Hub::revalidate`](crate::Hub::revalidate) returns it as an error.
///
/// ```
/// use tower_revalidate::Revalidate;
///
/// // one key, for everyone
/// let posts = Revalidate::key("posts.list");
/// // several, for the sessions of one user
/// let mine = Revalidate::keys(["users.me", "users.badges"]).to(("user", 7));
/// // both with one response
/// let both = posts.and(mine).and(Revalidate::key(("posts", "detail", 42)));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a `Revalidate` does nothing until a response carries it or the hub publishes it"]
pub struct Revalidate {
    pub(crate) entries: Vec<Entry>,
    pub(crate) faults: Vec<Fault>,
    /// Pledges that this response carries away: dropped with it, they publish after all.
    pub(crate) pledges: Vec<Arc<PledgeGuard>>,
}

/// Keys for one audience.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) keys: Vec<QueryKey>,
    pub(crate) audience: Audience,
    /// How long to hold it back.
    pub(crate) delay: Duration,
}

/// For whom: everyone, or the sessions that have any of these scopes (sorted, without doubles). Empty: nobody.
/// In a record everyone is said in a word of its own, so that what is missing is not for everyone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Audience {
    Everyone,
    Scopes(Vec<Scope>),
}

/// What a constructor refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A key was cut to a prefix.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An audience was refused, so nobody hears.
    #[error("the audience was refused: {0}")]
    Audience(#[from] NameError),
    /// Each of several keys has its own audience already; it is not clear which one these scopes are for.
    #[error("each key has its audience already; for which are {0:?}?")]
    Ambiguous(Vec<Scope>),
    /// The key was to be for everyone, and is declared as one that never is.
    #[error("the key {0} is declared scoped, and was to be for everyone")]
    Unscoped(QueryKey),
    /// The response header `X-Revalidate` is not what it must be; nothing of it is published.
    #[error("the header `X-Revalidate` was refused: {0}")]
    Header(String),
}

impl Revalidate {
    /// One stale key, for everyone until [`to`](Self::to) narrows it. The key of everything is
    /// [`QueryKey::everything`].
    pub fn key(key: impl IntoQueryKey) -> Self {
        Self::keys([key])
    }

    /// Several stale keys, for everyone until [`to`](Self::to) narrows them.
    pub fn keys(keys: impl IntoIterator<Item = impl IntoQueryKey>) -> Self {
        let mut revalidate = Self::default();
        let mut list = Vec::new();
        for key in keys {
            let (key, error) = key.into_query_key();
            list.push(key);
            revalidate.faults.extend(error.map(Fault::Key));
        }
        if !list.is_empty() {
            revalidate.push(Entry { keys: list, audience: Audience::Everyone, delay: Duration::ZERO });
        }
        revalidate
    }

    /// Nothing: the handler thought of it, and no query became stale. For
    /// [`Builder::audit_mutations`](crate::Builder::audit_mutations).
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Narrows what is still for everyone to the sessions with this scope. Where nothing is, it adds the scope
    /// to the one audience there is: any of its scopes hears. Where there are several audiences it is a
    /// [`Fault`], and changes nothing.
    pub fn to(self, scope: impl IntoName<Scope>) -> Self {
        self.to_any([scope])
    }

    /// [`to`](Self::to) any of these scopes; no scope is nobody.
    pub fn to_any(mut self, scopes: impl IntoIterator<Item = impl IntoName<Scope>>) -> Self {
        let mut list = Vec::new();
        for scope in scopes {
            match scope.into_name() {
                Ok(scope) => list.push(scope),
                Err(error) => self.faults.push(Fault::Audience(error)),
            }
        }
        let everyone = |entry: &Entry| entry.audience == Audience::Everyone;
        if self.entries.iter().any(everyone) {
            for entry in self.entries.iter_mut().filter(|entry| everyone(entry)) {
                entry.audience = Audience::scopes(list.clone());
            }
        } else if let [Entry { audience: Audience::Scopes(scopes), .. }] = &mut self.entries[..] {
            list.append(scopes);
            *scopes = list;
            scopes.sort_unstable();
            scopes.dedup();
        } else if !self.entries.is_empty() {
            self.faults.push(Fault::Ambiguous(list));
        }
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().for_each(|entry| self.push(entry));
        self
    }

    /// Holds back what was said so far, for replicas that lag behind the commit: who refetches earlier would
    /// read the old state and keep it. What waits is lost with the process.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.entries.iter_mut().for_each(|entry| entry.delay = delay);
        self
    }

    /// Joins what another one says, each with its own audience.
    pub fn and(mut self, other: impl Into<Revalidate>) -> Self {
        self.merge(other.into());
        self
    }

    /// Puts it into the extensions of a response, *merging* with one that is there. For frameworks whose
    /// responses are types of their own; where they are `http`'s, [`RevalidateExt`] reads better.
    pub fn merge_into(self, extensions: &mut Extensions) {
        match extensions.get_mut::<Revalidate>() {
            Some(known) => known.merge(self),
            None => {
                extensions.insert(self);
            }
        }
    }

    /// Nothing, because all of it was refused.
    #[cfg(feature = "header")]
    pub(crate) fn refused(fault: Fault) -> Self {
        Revalidate { faults: vec![fault], ..Self::default() }
    }

    pub(crate) fn merge(&mut self, other: Revalidate) {
        self.faults.extend(other.faults);
        self.pledges.extend(other.pledges);
        other.entries.into_iter().for_each(|entry| self.push(entry));
    }

    /// One entry an audience and delay. Doubles go when it is published.
    fn push(&mut self, entry: Entry) {
        let same = |known: &&mut Entry| known.audience == entry.audience && known.delay == entry.delay;
        match self.entries.iter_mut().find(same) {
            Some(known) => known.keys.extend(entry.keys),
            None => self.entries.push(entry),
        }
    }
}

impl Audience {
    pub(crate) fn scopes(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Audience::Scopes(scopes)
    }

    /// How many topics it stands for; everyone is one.
    pub(crate) fn topics(&self) -> usize {
        match self {
            Audience::Everyone => 1,
            Audience::Scopes(scopes) => scopes.len(),
        }
    }
}

impl<K: IntoQueryKey> From<K> for Revalidate {
    fn from(key: K) -> Self {
        Revalidate::key(key)
    }
}

impl<K: IntoQueryKey, const N: usize> From<[K; N]> for Revalidate {
    fn from(keys: [K; N]) -> Self {
        Revalidate::keys(keys)
    }
}

impl<K: IntoQueryKey> From<Vec<K>> for Revalidate {
    fn from(keys: Vec<K>) -> Self {
        Revalidate::keys(keys)
    }
}

/// Sets a [`Revalidate`] on a response, *merging* with one that is there: `extensions_mut().insert` would
/// replace it.
///
/// ```
/// use tower_revalidate::{Revalidate, RevalidateExt};
///
/// let response = http::Response::new("created")
///     .revalidate("posts.list")
///     .revalidate(Revalidate::key("users.me").to(("user", 7)));
/// # drop(response);
/// ```
pub trait RevalidateExt: Sized {
    /// Adds to what this response makes stale.
    #[must_use]
    fn revalidate(self, revalidate: impl Into<Revalidate>) -> Self;
}

impl<B> RevalidateExt for Response<B> {
    fn revalidate(mut self, revalidate: impl Into<Revalidate>) -> Self {
        revalidate.into().merge_into(self.extensions_mut());
        self
    }
}

impl RevalidateExt for http::response::Parts {
    fn revalidate(mut self, revalidate: impl Into<Revalidate>) -> Self {
        revalidate.into().merge_into(&mut self.extensions);
        self
    }
}

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
mod axum_impls {
    use std::convert::Infallible;

    use axum_core::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};

    use super::{Revalidate, RevalidateExt as _};
    use crate::Pledge;

    /// A part of a tuple: `(StatusCode::CREATED, Revalidate::key("posts.list"), Json(post))`. Several merge.
    impl IntoResponseParts for Revalidate {
        type Error = Infallible;
        fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
            self.merge_into(response.extensions_mut());
            Ok(response)
        }
    }

    /// A part of a tuple: the response carries the pledge away.
    impl IntoResponseParts for Pledge {
        type Error = Infallible;
        fn into_response_parts(self, response: ResponseParts) -> Result<ResponseParts, Infallible> {
            Revalidate::from(self).into_response_parts(response)
        }
    }

    /// An empty 200 that carries it away.
    impl IntoResponse for Pledge {
        fn into_response(self) -> Response {
            Revalidate::from(self).into_response()
        }
    }

    /// An empty 200 that carries it.
    impl IntoResponse for Revalidate {
        fn into_response(self) -> Response {
            ().into_response().revalidate(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(revalidate: &Revalidate) -> Vec<(Vec<String>, Option<Vec<String>>)> {
        let scopes = |audience: &Audience| match audience {
            Audience::Everyone => None,
            Audience::Scopes(scopes) => Some(scopes.iter().map(ToString::to_string).collect()),
        };
        let entry =
            |entry: &Entry| (entry.keys.iter().map(ToString::to_string).collect(), scopes(&entry.audience));
        revalidate.entries.iter().map(entry).collect()
    }

    #[test]
    fn a_string_and_an_array_say_the_same() {
        assert_eq!(said(&"posts.list".into()), said(&["posts.list"].into()));
    }

    fn each_to_its_own() -> Revalidate {
        Revalidate::key("a").to("user:1").and("b").to("user:2")
    }

    #[test]
    fn to_narrows_what_was_for_everyone_and_adds_to_the_rest() {
        let a = r#"["a"]"#.to_owned();
        let b = r#"["b"]"#.to_owned();
        let both = Revalidate::key("a").and("b").to("user:1").to("user:2");
        assert_eq!(said(&both), [(vec![a.clone(), b.clone()], Some(vec!["user:1".into(), "user:2".into()]))]);
        let unclear = each_to_its_own().to("user:3");
        assert_eq!(said(&unclear), said(&each_to_its_own()));
        assert!(matches!(unclear.faults[..], [Fault::Ambiguous(_)]));
        let each = each_to_its_own();
        assert_eq!(
            said(&each),
            [(vec![a], Some(vec!["user:1".into()])), (vec![b], Some(vec!["user:2".into()]))]
        );
    }

    #[test]
    fn a_refused_or_empty_audience_is_nobody() {
        for (nobody, faults) in [
            (Revalidate::key("a").to(("user", "*")), 1),
            (Revalidate::key("a").to(("user", "")), 1),
            (Revalidate::key("a").to_any(Vec::<Scope>::new()), 0),
        ] {
            assert_eq!(said(&nobody), [(vec![r#"["a"]"#.into()], Some(vec![]))]);
            assert_eq!(nobody.faults.len(), faults);
        }
    }

    #[test]
    fn extensions_merge() {
        let response = Response::new(()).revalidate("a").revalidate("b").revalidate("a");
        let merged = response.extensions().get::<Revalidate>().unwrap();
        assert_eq!(said(merged), [(vec![r#"["a"]"#.into(), r#"["b"]"#.into(), r#"["a"]"#.into()], None)]);
    }
}
