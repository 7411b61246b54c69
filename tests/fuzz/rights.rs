//! Who may hear what, judged by the words of the documentation and not by the crate's own patterns.

use tower_revalidate::{Builder, Grant, Hub, NameError, Pattern, Policy};

use super::Input;

/// Where messages are published, with what is kept of it.
pub const CHANNELS: [&str; 11] = [
    "news",
    "open:1",
    "open:closed",
    "room:1",
    "room:2",
    "room:1:typing",
    "user:7:a",
    "user:7:a:b",
    "vault",
    "é:ü",
    "a b",
];
/// For whom keys are published, beside everyone.
pub const SCOPES: [&str; 5] = ["user:7", "user:8", "role:admin", "tenant:acme", "é"];
/// Of what names and patterns are made.
const NAMES: [&str; 16] = [
    "room", "room:1", "room:2", ":", "1", "2", "typing", "user", "user:7", "7", "a", "*", "**", "news",
    "open", "vault",
];

pub fn declare(builder: Builder) -> Builder {
    builder
        .channel("news", Policy::history(1000).public())
        .channel("open:*", Policy::latest().public())
        .channel("open:closed", Policy::history(1000))
        .channel("room:*:typing", Policy::ephemeral())
}

pub fn is_public(channel: &str) -> bool {
    let parts: Vec<_> = channel.split(':').collect();
    channel == "news" || (parts.len() == 2 && parts[0] == "open" && parts[1] != "closed")
}

/// A part of a name: not empty, nothing in it that means something in names, no control character.
pub fn is_part(part: &str) -> bool {
    let refused = |c: char| ":*,".contains(c) || c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c);
    !part.is_empty() && !part.chars().any(refused)
}

pub fn is_name(text: &str) -> bool {
    text.len() <= 256 && text.split(':').all(is_part)
}

pub fn is_pattern(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    let fits = |(at, part): (usize, &&str)| {
        is_part(part) || *part == "*" || (*part == "**" && at + 1 == parts.len())
    };
    text.len() <= 256 && parts.iter().enumerate().all(fits)
}

/// A star is one part, two in the last place are one or more, and the rest is itself.
pub fn matches(pattern: &[&str], channel: &[&str]) -> bool {
    match (pattern, channel) {
        (["**"], [_, ..]) | ([], []) => true,
        (["*", pattern @ ..], [_, channel @ ..]) => matches(pattern, channel),
        ([literal, pattern @ ..], [part, channel @ ..]) => literal == part && matches(pattern, channel),
        _ => false,
    }
}

/// One right to follow, as the app says it.
#[derive(Debug, Clone)]
pub enum Right {
    Text(String),
    Exactly([String; 2]),
    Under([String; 2]),
    Children(String),
}

impl Right {
    pub fn pattern(&self) -> Result<Pattern, NameError> {
        match self {
            Right::Text(text) => Pattern::parse(text),
            Right::Exactly([kind, id]) => Pattern::new((kind, id)),
            Right::Under([kind, id]) => Pattern::under((kind, id)),
            Right::Children(name) => Pattern::children((name,)),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Rights {
    pub user: Option<String>,
    pub scopes: Vec<String>,
    pub follow: Vec<Right>,
}

impl Rights {
    pub fn draw(input: &mut Input<'_>) -> Self {
        let user = match input.below(4) {
            0 => None,
            1 | 2 => Some("7".to_owned()),
            _ => Some(input.text(&NAMES)),
        };
        let scopes = (0..input.below(3)).map(|_| input.pick(&SCOPES).to_owned()).collect();
        let follow = (0..input.below(4)).map(|_| match input.below(6) {
            0 => Right::Text("room:*".into()),
            1 => Right::Text(input.pick(&CHANNELS).to_owned()),
            2 => Right::Text(input.text(&NAMES)),
            3 => Right::Exactly(["room".into(), input.text(&NAMES)]),
            4 => Right::Under(["user".into(), input.text(&NAMES)]),
            _ => Right::Children(input.text(&NAMES)),
        });
        let follow = follow.collect();
        Rights { user, scopes, follow }
    }

    pub fn grant(&self) -> Grant {
        let grant = self.user.as_ref().map_or_else(Grant::anonymous, Grant::user);
        let scopes = self.scopes.iter().map(|scope| tower_revalidate::Scope::parse(scope));
        let grant = scopes.fold(grant, Grant::scope);
        self.follow.iter().fold(grant, |grant, right| grant.follow(right.pattern()))
    }

    pub fn may_follow(&self, channel: &str) -> bool {
        is_public(channel) || self.allow(channel)
    }

    /// Whether one of the rights is to this channel.
    pub fn allow(&self, channel: &str) -> bool {
        let parts: Vec<_> = channel.split(':').collect();
        let allows = |right: &Right| match right {
            Right::Text(text) => is_pattern(text) && matches(&text.split(':').collect::<Vec<_>>(), &parts),
            Right::Exactly(name) => name.iter().all(|part| is_part(part)) && parts == name,
            Right::Under(name) => {
                name.iter().all(|part| is_part(part)) && parts.len() > 2 && parts[..2] == *name
            }
            Right::Children(part) => is_part(part) && parts.len() == 2 && parts[0] == part,
        };
        self.follow.iter().any(allows)
    }

    /// What the session is: what was granted, and its user.
    pub fn is(&self, scope: &str) -> bool {
        let own = self.user.as_ref().filter(|id| is_part(id)).map(|id| format!("user:{id}"));
        self.scopes.iter().any(|granted| granted == scope) || own.is_some_and(|own| own == scope)
    }
}

/// The channels that a query may well ask for.
pub fn name(input: &mut Input<'_>) -> String {
    match input.below(4) {
        0 | 1 => input.pick(&CHANNELS).to_owned(),
        2 => ["room", "user:7", "open"][input.below(3)].to_owned() + ":" + &input.byte().to_string(),
        _ => input.text(&NAMES),
    }
}

/// One message on every channel and one key for every audience, each of which says for whom it is.
pub fn publish_everywhere(hub: &Hub, round: &str) {
    for channel in CHANNELS {
        let channel = tower_revalidate::Channel::parse(channel).unwrap();
        hub.channel(&channel).publish(round, &channel);
    }
    hub.revalidate(tower_revalidate::Revalidate::key((round, "everyone")));
    for scope in SCOPES {
        let audience = tower_revalidate::Scope::parse(scope);
        hub.revalidate(tower_revalidate::Revalidate::key((round, scope)).to(audience));
    }
}
