//! [`QueryKey`]: which query of the browser's cache went stale.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest key, in bytes of JSON.
const MAX_BYTES: usize = 1024;
/// The most segments of a key.
const MAX_SEGMENTS: usize = 16;
/// How deep the arrays and objects of one segment are nested at most. `serde_json` reads 128.
const MAX_NESTING: usize = 32;

/// A query key: segments of JSON, as TanStack Query and SWR use them. A key stands for itself and for every key
/// that it is a prefix of, by whole segments: `["posts"]` covers `["posts","list"]`, and `["posts","list"]`
/// does not cover `["posts","listArchived"]`. `[]` covers everything.
///
/// At most 16 segments and 1 024 bytes of JSON, each segment nested at most 32 deep.
///
/// ```
/// use tower_revalidate::QueryKey;
///
/// assert_eq!(QueryKey::new("posts.list")?.to_string(), r#"["posts","list"]"#);
/// assert_eq!(QueryKey::new(("posts", "detail", 7))?.to_string(), r#"["posts","detail",7]"#);
/// assert!(QueryKey::new("posts")?.covers(&QueryKey::new(("posts", "detail", 7))?));
/// # Ok::<(), tower_revalidate::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryKey {
    /// The canonical JSON text: compact, members of objects sorted. A prefix by whole segments is then a
    /// prefix of the text that ends at a comma or at the bracket.
    json: Arc<str>,
}

/// Why a key was refused or cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A segment of the dotted form is empty.
    #[error("the key {0:?} has an empty segment")]
    Empty(String),
    /// A part cannot be written as JSON.
    #[error("segment {segment} of a key cannot be serialised: {reason}")]
    Serialize {
        /// Which segment, from 0.
        segment: usize,
        /// What the serialiser said.
        reason: String,
    },
    /// Over 1 024 bytes of JSON.
    #[error("a key of {0} bytes is over the limit of 1024")]
    TooLong(usize),
    /// Over 16 segments.
    #[error("a key of {0} segments is over the limit of 16")]
    TooDeep(usize),
    /// A segment whose arrays and objects are nested over 32 deep: what reads JSON stops somewhere, too.
    #[error("segment {0} of a key is nested over the limit of 32")]
    TooNested(usize),
    /// A JSON value that is not an array, where a key was wanted.
    #[error("a key is an array of segments, not {0}")]
    NotAnArray(String),
}

/// What a key can be built from: a dotted literal `"posts.list"`, or a tuple of parts that serialise
/// (`("posts", "detail", id)`), each one segment whatever it holds. An array is never segments, it is several
/// keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query key",
    note = "use a literal \"posts.list\", or a tuple of parts such as `(\"posts\", id)` for what is known at run time"
)]
pub trait IntoQueryKey {
    /// Builds the key; where a part is refused, the prefix before it, and why.
    fn into_query_key(self) -> (QueryKey, Option<KeyError>);
}

impl QueryKey {
    /// Builds a key.
    ///
    /// # Errors
    /// [`KeyError`] when a part cannot be serialised or a bound is passed.
    pub fn new(key: impl IntoQueryKey) -> Result<Self, KeyError> {
        match key.into_query_key() {
            (key, None) => Ok(key),
            (_, Some(error)) => Err(error),
        }
    }

    /// The key of everything, `[]`.
    #[must_use]
    pub fn everything() -> Self {
        QueryKey { json: "[]".into() }
    }

    /// The JSON text: an array of segments, compact.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Whether this key is `other`, or a prefix of it by whole segments.
    #[must_use]
    pub fn covers(&self, other: &QueryKey) -> bool {
        let stem = self.json.len() - 1;
        if stem == 1 {
            return true;
        }
        other.json.as_bytes().starts_with(&self.json.as_bytes()[..stem])
            && matches!(other.json.as_bytes()[stem], b',' | b']')
    }

    /// The key without its last segment; none for the key of everything.
    #[must_use]
    pub fn parent(&self) -> Option<QueryKey> {
        let stem = self.prefix_stems().last()?;
        Some(QueryKey { json: format!("{stem}]").into() })
    }

    /// The text without the closing bracket.
    pub(crate) fn stem(&self) -> &str {
        &self.json[..self.json.len() - 1]
    }

    /// The [`stem`](Self::stem)s of every key that covers this one and is not it, the shortest first: the text
    /// up to each comma between segments.
    pub(crate) fn prefix_stems(&self) -> impl Iterator<Item = &str> {
        let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
        let commas = self.json.bytes().enumerate().filter(move |(_, byte)| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                b',' => return depth == 1,
                _ => {}
            }
            false
        });
        let everything = (self.json.len() > 2).then_some(1);
        everything.into_iter().chain(commas.map(|(at, _)| at)).map(|cut| &self.json[..cut])
    }

    /// Builds from segments, up to the first that is refused.
    fn build(segments: impl Iterator<Item = Result<Value, KeyError>>) -> (QueryKey, Option<KeyError>) {
        let mut json = String::from("[");
        let mut error = None;
        for (index, segment) in segments.enumerate() {
            let before = json.len();
            let refused = match segment {
                Err(error) => Some(error),
                Ok(_) if index == MAX_SEGMENTS => Some(KeyError::TooDeep(index + 1)),
                Ok(value) if nests_over(&value, MAX_NESTING) => Some(KeyError::TooNested(index)),
                Ok(value) => {
                    if index > 0 {
                        json.push(',');
                    }
                    write_canonical(&value, &mut json);
                    (json.len() >= MAX_BYTES).then(|| KeyError::TooLong(json.len() + 1))
                }
            };
            if refused.is_some() {
                json.truncate(before);
                error = refused;
                break;
            }
        }
        json.push(']');
        (QueryKey { json: json.into() }, error)
    }
}

/// Whether arrays and objects are nested deeper than this.
pub(crate) fn nests_over(value: &Value, limit: usize) -> bool {
    let over = |inner: &Value| nests_over(inner, limit - 1);
    match value {
        Value::Array(_) | Value::Object(_) if limit == 0 => true,
        Value::Array(items) => items.iter().any(over),
        Value::Object(members) => members.values().any(over),
        _ => false,
    }
}

/// Writes JSON with the members of objects sorted: `serde_json` keeps insertion order once any crate in the
/// build asks for it, and equal keys must have equal text.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(&Value::String(name.clone()), out);
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

impl IntoQueryKey for QueryKey {
    fn into_query_key(self) -> (QueryKey, Option<KeyError>) {
        (self, None)
    }
}

impl IntoQueryKey for &QueryKey {
    fn into_query_key(self) -> (QueryKey, Option<KeyError>) {
        (self.clone(), None)
    }
}

impl IntoQueryKey for &'static str {
    fn into_query_key(self) -> (QueryKey, Option<KeyError>) {
        QueryKey::build(self.split('.').map(|segment| match segment {
            "" => Err(KeyError::Empty(self.to_owned())),
            segment => Ok(Value::String(segment.to_owned())),
        }))
    }
}

macro_rules! tuples {
    ($(($($part:ident),+))+) => {$(
        impl<$($part: Serialize),+> IntoQueryKey for ($($part,)+) {
            fn into_query_key(self) -> (QueryKey, Option<KeyError>) {
                #[allow(non_snake_case)]
                let ($($part,)+) = self;
                let segments = [$(serde_json::to_value($part)),+];
                QueryKey::build(segments.into_iter().enumerate().map(|(segment, value)| {
                    value.map_err(|error| KeyError::Serialize { segment, reason: error.to_string() })
                }))
            }
        }
    )+};
}
tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G) (A, B, C, D, E, F, G, H) }

impl TryFrom<Value> for QueryKey {
    type Error = KeyError;
    fn try_from(value: Value) -> Result<Self, KeyError> {
        match value {
            Value::Array(segments) => match QueryKey::build(segments.into_iter().map(Ok)) {
                (key, None) => Ok(key),
                (_, Some(error)) => Err(error),
            },
            other => Err(KeyError::NotAnArray(other.to_string())),
        }
    }
}

impl fmt::Display for QueryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

impl fmt::Debug for QueryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

impl Serialize for QueryKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The text is JSON already; as a `RawValue` it is not escaped again.
        let raw: &RawValue = serde_json::from_str(&self.json).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for QueryKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// Makes a set of keys no larger than `cap` without losing one: keys lose their last segment, the longest
/// first, until the set fits; at the end of that stands the key of everything.
pub(crate) fn collapse(keys: &mut Vec<QueryKey>, cap: usize) {
    keys.sort_unstable();
    keys.dedup();
    while keys.len() > cap.max(1) {
        let depth = |key: &QueryKey| key.prefix_stems().count();
        let deepest = keys.iter().map(depth).max().unwrap_or(0);
        for key in keys.iter_mut().filter(|key| depth(key) == deepest) {
            if let Some(parent) = key.parent() {
                *key = parent;
            }
        }
        keys.sort_unstable();
        keys.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: Value) -> QueryKey {
        value.try_into().unwrap()
    }

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let list = key(serde_json::json!(["posts", "list"]));
        assert!(list.covers(&key(serde_json::json!(["posts", "list", 1]))));
        assert!(list.covers(&list));
        assert!(!list.covers(&key(serde_json::json!(["posts", "listArchived"]))));
        assert!(!list.covers(&key(serde_json::json!(["posts"]))));
        assert!(!key(serde_json::json!([1])).covers(&key(serde_json::json!([12]))));
        assert!(QueryKey::everything().covers(&list));
        assert!(!list.covers(&QueryKey::everything()));
    }

    #[test]
    fn parents_end_at_everything() {
        let deep = key(serde_json::json!(["a,b]\"\\", {"x": [1, 2], "y": "],"}, 3]));
        let mut parents = std::iter::successors(deep.parent(), QueryKey::parent);
        assert_eq!(parents.next().unwrap(), key(serde_json::json!(["a,b]\"\\", {"x": [1, 2], "y": "],"}])));
        assert_eq!(parents.next().unwrap(), key(serde_json::json!(["a,b]\"\\"])));
        assert_eq!(parents.next().unwrap(), QueryKey::everything());
        assert_eq!(parents.next(), None);
    }

    #[test]
    fn a_part_is_one_segment_whatever_it_holds() {
        let (key, error) = ("posts", "a.b\",\"c").into_query_key();
        assert_eq!(error, None);
        assert_eq!(serde_json::from_str::<Vec<String>>(key.as_json()).unwrap(), ["posts", "a.b\",\"c"]);
    }

    #[test]
    fn a_refused_part_cuts_the_key_to_the_prefix_before_it() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let (cut, error) = ("posts", Fails, 1).into_query_key();
        assert_eq!(cut.as_json(), r#"["posts"]"#);
        assert!(matches!(error, Some(KeyError::Serialize { segment: 1, .. })));
        assert_eq!("posts..list".into_query_key().0.as_json(), r#"["posts"]"#);
        assert_eq!(("posts", "x".repeat(2000)).into_query_key().0.as_json(), r#"["posts"]"#);
    }

    #[test]
    fn what_is_built_reads_back_however_deep_it_is() {
        let nested = |depth| (0..depth).fold(Value::Null, |inner, _| serde_json::json!([inner]));
        let deep = key(serde_json::json!(["a", nested(MAX_NESTING)]));
        assert_eq!(serde_json::from_str::<QueryKey>(deep.as_json()).unwrap(), deep);
        let deeper = serde_json::json!(["a", nested(MAX_NESTING + 1)]);
        assert_eq!(QueryKey::try_from(deeper), Err(KeyError::TooNested(1)));
        let (cut, error) = ("a", serde_json::json!({ "x": nested(200) })).into_query_key();
        assert_eq!((cut.as_json(), error), (r#"["a"]"#, Some(KeyError::TooNested(1))));
    }

    #[test]
    fn collapsing_covers_every_key() {
        let keys: Vec<_> = (0..100).map(|id| key(serde_json::json!(["a", id % 3, id]))).collect();
        for cap in [50, 3, 2, 1, 0] {
            let mut fewer = keys.clone();
            collapse(&mut fewer, cap);
            assert!(fewer.len() <= cap.max(1));
            assert!(keys.iter().all(|key| fewer.iter().any(|prefix| prefix.covers(key))));
        }
    }

    #[test]
    fn members_of_objects_are_sorted() {
        let text = r#"[{"b":1,"a":{"d":1,"c":2}}]"#;
        let key: QueryKey = serde_json::from_str(text).unwrap();
        assert_eq!(key.as_json(), r#"[{"a":{"c":2,"d":1},"b":1}]"#);
        assert_eq!(serde_json::to_string(&key).unwrap(), key.as_json());
    }
}
