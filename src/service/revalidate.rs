//! `POST {mount}/revalidate`: what became stale, said by a trusted sender.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::post::{malformed, parse};
use crate::access::publish_refusal;
use crate::{Hub, QueryKey, Refusal, Revalidate, Scope};

#[derive(Deserialize)]
struct Said {
    /// `"posts.list"`, or an array of segments.
    keys: Vec<Value>,
    /// Its scopes; everyone where it is left out, and only then.
    #[serde(default, deserialize_with = "there")]
    to: Option<Vec<String>>,
}

/// A `null` is a mistake of somebody's, not everyone.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

/// Answers once it stands in the log (PROTOCOL R6). All of it or nothing.
pub(super) async fn take(hub: &Hub, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let said: Said = parse(body)?;
    let keys = said.keys.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(malformed("there are no keys"));
    }
    let mut stale = Revalidate::keys(keys);
    if let Some(scopes) = said.to {
        let scopes = scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<Vec<_>, _>>();
        stale =
            stale.to_any(scopes.map_err(|error| malformed(format!("the audience was refused: {error}")))?);
    }
    hub.revalidate(stale).await.map_err(publish_refusal)?;
    Ok(serde_json::to_vec(&json!({"success": true}))?)
}

fn key(said: Value) -> Result<QueryKey, Refusal> {
    let segments = match said {
        Value::String(dotted) if dotted.split('.').any(str::is_empty) => {
            return Err(malformed(format!("the key {dotted:?} has an empty segment")));
        }
        Value::String(dotted) => dotted.split('.').map(Value::from).collect(),
        other => other,
    };
    QueryKey::try_from(segments).map_err(|error| malformed(error.to_string()))
}
