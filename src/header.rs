//! The response header `X-Revalidate`, a List of Structured Fields (RFC 9651, 3.1).

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde_json::Value;
use sfv::{BareItem, Item, List, ListEntry, Parameters, Parser};

use crate::{Fault, QueryKey, Revalidate, Scope};

/// The header by which an upstream says what a handler says by an extension.
const HEADER: HeaderName = HeaderName::from_static("x-revalidate");

/// Takes the header out; what it says, if it is there. All of it or nothing: what is malformed is for nobody.
pub(crate) fn take(headers: &mut HeaderMap) -> Option<Revalidate> {
    let lines: Vec<_> = headers.get_all(HEADER).iter().map(|line| line.as_bytes()).collect();
    if lines.is_empty() {
        return None;
    }
    // Several lines are one list (RFC 9651, 4.2).
    let said = parse(&lines.join(&b", "[..]));
    headers.remove(HEADER);
    Some(said.unwrap_or_else(|reason| Revalidate::refused(Fault::Header(reason))))
}

fn parse(text: &[u8]) -> Result<Revalidate, String> {
    let list: List = Parser::new(text).parse().map_err(|error| error.to_string())?;
    let mut said = Revalidate::nothing();
    for entry in list {
        let (segments, params) = match entry {
            ListEntry::Item(Item { bare_item, params }) => (dotted(&bare_item)?, params),
            ListEntry::InnerList(list) => {
                (list.items.iter().map(segment).collect::<Result<_, _>>()?, list.params)
            }
        };
        let key = QueryKey::try_from(Value::Array(segments)).map_err(|error| error.to_string())?;
        said = said.and(with(Revalidate::key(key), &params)?);
    }
    Ok(said)
}

/// `"posts.list"` or `posts.list`, as a literal in code.
fn dotted(item: &BareItem) -> Result<Vec<Value>, String> {
    let text = text(item).ok_or("a key is a string, a token or a list of segments")?;
    let segments = text.split('.').map(|segment| match segment {
        "" => Err(format!("the key {text:?} has an empty segment")),
        segment => Ok(segment.into()),
    });
    segments.collect()
}

/// One segment of `("posts" "detail" 42)`, whatever it holds.
fn segment(item: &Item) -> Result<Value, String> {
    if !item.params.is_empty() {
        return Err("a segment has parameters; they belong behind the list".into());
    }
    Ok(match &item.bare_item {
        BareItem::Integer(number) => i64::from(*number).into(),
        BareItem::Decimal(number) => f64::from(*number).into(),
        BareItem::Boolean(boolean) => (*boolean).into(),
        item => text(item).ok_or("a segment of a key is a string, a token, a number or a boolean")?.into(),
    })
}

/// The audience, `to="user:7"` or several scopes with commas, and `delay`, in milliseconds. A parameter that is
/// not known may be a misspelt audience.
fn with(mut said: Revalidate, params: &Parameters) -> Result<Revalidate, String> {
    for (name, value) in params {
        said = match (name.as_str(), value) {
            ("to", value) => {
                let scopes = text(value).ok_or("the audience is not a string")?;
                let scopes = scopes.split(',').map(|scope| Scope::parse(scope.trim()));
                said.to_any(scopes.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?)
            }
            ("delay", BareItem::Integer(millis)) => {
                let millis = u64::try_from(i64::from(*millis)).map_err(|_| "a delay is negative")?;
                said.delay(Duration::from_millis(millis))
            }
            ("delay", _) => return Err("the delay is not an integer".into()),
            (name, _) => return Err(format!("the parameter {name:?} means nothing here")),
        };
    }
    Ok(said)
}

fn text(item: &BareItem) -> Option<&str> {
    match item {
        BareItem::String(text) => Some(text.as_str()),
        BareItem::Token(text) => Some(text.as_str()),
        BareItem::DisplayString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        let said = parse(text.as_bytes()).ok()?;
        Some(said.entries.iter().map(|entry| format!("{:?} {:?};", entry.keys, entry.audience)).collect())
    }

    #[test]
    fn it_says_what_an_extension_says() {
        for (header, revalidate) in [
            (r#""posts.list""#, Revalidate::key("posts.list")),
            ("posts.list", Revalidate::key("posts.list")),
            (r#"("posts" "detail" 42)"#, Revalidate::key(("posts", "detail", 42))),
            (r#"("a.b" ?1 1.5 -1)"#, Revalidate::key(("a.b", true, 1.5, -1))),
            (r#"(%"f%c3%bc")"#, Revalidate::key(("fü",))),
            ("()", Revalidate::key(QueryKey::everything())),
            ("a, b", Revalidate::keys(["a", "b"])),
            (r#"users.me;to="user:7", a"#, Revalidate::key("users.me").to("user:7").and("a")),
            ("a;to=user:7", Revalidate::key("a").to("user:7")),
            (r#"(a);to="user:7, role:admin";delay=200"#, Revalidate::key("a").to("user:7").to("role:admin")),
            ("", Revalidate::nothing()),
        ] {
            let expected: String =
                revalidate.entries.iter().map(|e| format!("{:?} {:?};", e.keys, e.audience)).collect();
            assert_eq!(said(header).as_deref(), Some(&*expected), "{header}");
        }
        assert_eq!(parse(b"a;delay=200").unwrap().entries[0].delay, Duration::from_millis(200));
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        for header in [
            "a,",
            "\"a",
            "a..b",
            "\"\"",
            "42",
            "a;to",
            "a;to=\"\"",
            "a;to=\"user:*\"",
            "a;to=\"user:7,\"",
            "a;to=7",
            "a;scope=\"user:7\"",
            "a;delay=-1",
            "a;delay=soon",
            "(a;to=\"user:7\")",
            "(:YQ==:)",
            "a, b, \u{fc}",
        ] {
            assert_eq!(said(header), None, "{header}");
        }
        let long = format!("(\"{}\")", "x".repeat(2000));
        assert_eq!(said(&long), None);
    }
}
