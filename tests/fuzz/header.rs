//! The response header `X-Revalidate`: all of it is published, for whom it says, or nothing of it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tower_revalidate::{Audit, Event, Grant, Hub, QueryKey, Subscription};

use super::Input;

const TEXTS: [&str; 8] = ["posts", "list", "a.b", "", "42", "\\", "\"", "x y"];
const SCOPES: [&str; 4] = ["user:7", "role:admin", "user:8", "x"];
const PIECES: [&str; 16] = [
    "posts.list",
    "\"posts\"",
    "(",
    ")",
    " ",
    ", ",
    ";to=",
    "\"user:7\"",
    "user:7",
    ";delay=0",
    "?1",
    "1.5",
    "%\"f%c3%bc\"",
    ":YQ==:",
    "@1",
    ";",
];

pub fn header(cases: &[&[u8]]) {
    super::on_runtime(async {
        let faults = Arc::new(AtomicUsize::new(0));
        let count = faults.clone();
        let hook = move |audit: &Audit<'_>| {
            assert!(matches!(audit, Audit::Fault(_)), "{audit:?}");
            count.fetch_add(1, Ordering::SeqCst);
        };
        let hub = Hub::builder().response_header(true).on_audit(hook).build().unwrap();
        let mut user = hub.subscribe(Grant::anonymous().scope("user:7")).unwrap();
        let mut stranger = hub.subscribe(Grant::anonymous()).unwrap();
        for case in cases {
            let mut input = Input::new(case);
            let said: Vec<_> = (0..=input.below(3)).map(|_| Said::draw(&mut input)).collect();
            let mut text = said.iter().map(Said::text).collect::<Vec<_>>().join(", ").into_bytes();
            let sound = !input.once_in(2);
            if !sound {
                (0..=input.below(3)).for_each(|_| input.stir(&mut text, &PIECES));
            }
            let Ok(line) = HeaderValue::from_bytes(&text) else { continue };

            faults.store(0, Ordering::SeqCst);
            let mut headers = HeaderMap::new();
            headers.insert("x-revalidate", line);
            let observation = hub.observe(&Method::POST, &Uri::from_static("/"), &HeaderMap::new());
            observation.finish(StatusCode::OK, &mut headers, &mut Extensions::new());
            assert!(headers.is_empty(), "it is for the layer only");

            let (theirs, everyones) = (heard(&mut user), heard(&mut stranger));
            let text = String::from_utf8_lossy(&text);
            if faults.load(Ordering::SeqCst) > 0 {
                assert!(!sound, "{text} is sound");
                assert_eq!((theirs, everyones), (vec![], vec![]), "{text} was refused");
            } else if sound {
                assert_eq!(theirs, least(said.iter().filter(|said| said.is_for("user:7"))), "{text}");
                assert_eq!(everyones, least(said.iter().filter(|said| said.to.is_empty())), "{text}");
            }
        }
    });
}

/// One member of the list.
struct Said {
    segments: Vec<Value>,
    to: Vec<&'static str>,
}

impl Said {
    fn draw(input: &mut Input<'_>) -> Self {
        let segment = |input: &mut Input<'_>| match input.below(4) {
            0 => json!(input.number(0) % 1_000_000_000_000_000),
            1 => json!(input.once_in(2)),
            _ => json!(input.pick(&TEXTS)),
        };
        Said {
            segments: (0..input.below(4)).map(|_| segment(input)).collect(),
            to: (0..input.below(3))
                .map(|_| input.pick(&SCOPES))
                .map(|scope| SCOPES.into_iter().find(|known| *known == scope).unwrap())
                .collect(),
        }
    }

    /// As RFC 9651 writes it.
    fn text(&self) -> String {
        let segment = |segment: &Value| match segment {
            Value::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Value::Bool(boolean) => format!("?{}", u8::from(*boolean)),
            number => number.to_string(),
        };
        let key = format!("({})", self.segments.iter().map(segment).collect::<Vec<_>>().join(" "));
        if self.to.is_empty() { key } else { format!("{key};to=\"{}\"", self.to.join(",")) }
    }

    fn is_for(&self, scope: &str) -> bool {
        self.to.is_empty() || self.to.contains(&scope)
    }
}

fn heard(sub: &mut Subscription) -> Vec<QueryKey> {
    let mut keys = Vec::new();
    while let Some(event) = sub.try_recv().unwrap() {
        let Event::Revalidate(stale) = event else { panic!("{event:?}") };
        keys.extend(stale.keys);
    }
    keys.sort();
    keys
}

/// The keys, without those that another one covers.
fn least<'a>(said: impl Iterator<Item = &'a Said>) -> Vec<QueryKey> {
    let mut keys: Vec<_> = said.map(|said| QueryKey::try_from(json!(said.segments)).unwrap()).collect();
    keys.sort();
    keys.dedup();
    let all = keys.clone();
    keys.retain(|key| !all.iter().any(|other| other != key && other.covers(key)));
    keys
}
