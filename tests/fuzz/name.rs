//! Names of parts: refused, or exactly what the parts say; a pattern matches what its words say.

use tower_revalidate::{Channel, NameError, Pattern, Scope};

use super::Input;
use super::rights::{is_name, is_part, is_pattern, matches};

const PARTS: [&str; 10] = ["room", "user", "1", "7", "é", "a b", ":", "*", ",", "x"];

pub fn name(cases: &[&[u8]]) {
    for case in cases {
        let mut input = Input::new(case);
        let parts: [String; 3] = std::array::from_fn(|_| {
            if input.once_in(2) { input.text(&PARTS) } else { input.pick(&PARTS).to_owned() }
        });
        let other = match input.below(3) {
            0 => parts.join(":"),
            1 => format!("{}:{}", parts[..2].join(":"), input.text(&PARTS)),
            _ => input.text(&PARTS),
        };
        built(&parts);
        parsed(&parts.join(":"), &other);
        patterns(&parts, &other);
    }
}

fn built([a, b, c]: &[String; 3]) {
    let whole = format!("{a}:{b}:{c}");
    let sound = [a, b, c].into_iter().all(|part| is_part(part)) && whole.len() <= 256;
    let scope = Scope::new((a, b, c));
    let channel = Channel::new((a, b, c));
    let pattern = Pattern::new((a, b, c));
    assert_eq!(scope.is_ok(), sound, "{a:?} {b:?} {c:?}: {scope:?}");
    assert_eq!(channel.is_ok(), sound);
    assert_eq!(pattern.is_ok(), sound);
    if let (Ok(scope), Ok(channel), Ok(pattern)) = (scope, channel, pattern) {
        assert_eq!((scope.as_str(), channel.as_str(), pattern.as_str()), (&*whole, &*whole, &*whole));
        assert_eq!(Scope::parse(&whole), Ok(scope));
        assert!(pattern.matches(&channel));
        assert_eq!(
            serde_json::from_str::<Channel>(&serde_json::to_string(&channel).unwrap()).unwrap(),
            channel
        );
    }
}

fn parsed(text: &str, other: &str) {
    for text in [text, other] {
        assert_eq!(Channel::parse(text).is_ok(), is_name(text), "{text:?}");
        assert_eq!(Scope::parse(text).is_ok(), is_name(text), "{text:?}");
        assert_eq!(Pattern::parse(text).is_ok(), is_pattern(text), "{text:?}");
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<Channel>(&json).is_ok(), is_name(text), "{text:?}");
    }
}

/// What may be built from parts of data, matches what they literally name, and nothing else.
fn patterns(parts @ [a, b, _]: &[String; 3], other: &str) {
    let Ok(channel) = Channel::parse(other) else { return };
    let split: Vec<_> = other.split(':').collect();
    let sound = [a, b].into_iter().all(|part| is_part(part));
    let hit = |pattern: Result<Pattern, NameError>| pattern.is_ok_and(|pattern| pattern.matches(&channel));
    assert_eq!(hit(Pattern::new((a, b))), sound && split == [a, b], "{a:?} {b:?}: {other:?}");
    // The star is a part of the name, too, which is bounded.
    let below = |star: &str| {
        let fits = a.len() + b.len() + star.len() < 255;
        sound && fits && split.len() > 2 && split[..2] == [a, b]
    };
    assert_eq!(hit(Pattern::under((a, b))), below("**"), "{a:?} {b:?}: {other:?}");
    assert_eq!(hit(Pattern::children((a, b))), below("*") && split.len() == 3, "{a:?} {b:?}: {other:?}");
    let text = parts.join(":");
    let words: Vec<_> = text.split(':').collect();
    assert_eq!(
        hit(Pattern::parse(&text)),
        is_pattern(&text) && matches(&words, &split),
        "{text:?}: {other:?}"
    );
}
