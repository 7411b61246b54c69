//! Query keys: refused, or exactly the segments that they were made of; one covers what it is a prefix of.

use serde_json::{Value, json};
use tower_revalidate::{KeyError, QueryKey, Revalidate};

use super::Input;
use super::input::sorted;

const WORDS: [&str; 8] = ["posts", "list", ".", "\"", "]", ",", "\\", "["];

pub fn key(cases: &[&[u8]]) {
    for case in cases {
        let mut input = Input::new(case);
        let parts = [input.text(&WORDS), input.text(&WORDS)];
        let value = input.json(3);
        let segments = json!([parts[0], value, parts[1]]);
        built(QueryKey::new((&parts[0], &value, &parts[1])), &segments);

        let other: Vec<Value> = match input.below(4) {
            0 => segments.as_array().unwrap()[..input.below(4)].to_vec(),
            1 => [segments.as_array().unwrap().clone(), vec![input.json(1)]].concat(),
            2 => vec![parts[0].clone().into(), input.json(1)],
            _ => (0..input.below(20)).map(|_| input.json(2)).collect(),
        };
        built(QueryKey::try_from(Value::Array(other.clone())), &json!(other));
        covers(&segments, &json!(other));
        foreign(&mut input);
    }
}

/// Not built when it is over a bound, and else what it was built of.
fn built(key: Result<QueryKey, KeyError>, segments: &Value) {
    let text = sorted(segments);
    let sound = text.len() <= 1024 && segments.as_array().unwrap().len() <= 16 && depth(segments) <= 33;
    assert_eq!(key.is_ok(), sound, "{text}: {key:?}");
    let Ok(key) = key else { return };
    assert_eq!(key.as_json(), text);
    assert_eq!(serde_json::to_string(&key).unwrap(), text);
    assert_eq!(serde_json::from_str::<QueryKey>(&text).unwrap(), key);
    let parent = segments.as_array().unwrap().split_last().map(|(_, stem)| sorted(&json!(stem)));
    assert_eq!(key.parent().map(|parent| parent.to_string()), parent);
    drop(Revalidate::key(key));
}

/// Of the arrays and objects of a key, itself included.
fn depth(value: &Value) -> usize {
    let within = |inner: Option<usize>| 1 + inner.unwrap_or_default();
    match value {
        Value::Array(items) => within(items.iter().map(depth).max()),
        Value::Object(members) => within(members.values().map(depth).max()),
        _ => 0,
    }
}

fn covers(one: &Value, other: &Value) {
    let (Ok(a), Ok(b)) = (QueryKey::try_from(one.clone()), QueryKey::try_from(other.clone())) else { return };
    let texts = |value: &Value| value.as_array().unwrap().iter().map(sorted).collect::<Vec<_>>();
    let (left, right) = (texts(one), texts(other));
    assert_eq!(a.covers(&b), right.starts_with(&left), "{a} {b}");
    assert_eq!(b.covers(&a), left.starts_with(&right), "{b} {a}");
}

/// What was no key at all is none.
fn foreign(input: &mut Input<'_>) {
    let bytes = input.soup(&[
        "[",
        "]",
        "{",
        "}",
        "\"a\"",
        ",",
        ":",
        "1",
        "\"",
        "null",
        "[\"posts\",",
        "\\u0000",
        "1e400",
    ]);
    if let Ok(key) = serde_json::from_slice::<QueryKey>(&bytes) {
        let segments: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(key.as_json(), sorted(&segments));
    }
}
