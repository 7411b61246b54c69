//! Names made of parts: what scopes, channels and patterns share.
//!
//! A name is `part:part:…`. It is built from parts, each checked, so that a user id of `*` or `1:admin` is
//! refused and not read as a wildcard or as another name. The string form is for literals.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The longest name, in bytes.
pub(crate) const MAX_BYTES: usize = 256;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no part, or one of them is empty.
    #[error("a name has an empty part: {0:?}")]
    Empty(String),
    /// Over 256 bytes.
    #[error("a name of {0} bytes is over the limit of 256")]
    TooLong(usize),
    /// A part holds a character that means something in names, or a control character.
    #[error("the part {part:?} of a name holds {found:?}")]
    Forbidden {
        /// The part, as given.
        part: String,
        /// The character.
        found: char,
    },
}

/// A checked, cheaply cloned string.
#[derive(Clone)]
pub(crate) enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Text {}
impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Which kind of name; it decides which characters mean something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// `*` stands for one part, `**` in the last place for one or more.
    Pattern,
}

/// A type that [`IntoName`] builds: [`Scope`](crate::Scope), [`Channel`](crate::Channel) or
/// [`Pattern`](crate::Pattern). Sealed.
pub trait Name: Sized + sealed::Name {}

pub(crate) mod sealed {
    pub trait Name: Sized {
        fn parse(text: &str) -> Result<Self, super::NameError>;
        fn from_parts(parts: &[&dyn std::fmt::Display]) -> Result<Self, super::NameError>;
    }
}

/// What a name can be built from: a literal such as `"room:42"`, or a tuple of parts such as `("room", id)`,
/// each part anything with [`Display`](fmt::Display).
///
/// A whole name that is only known at run time is parsed: [`Channel::parse`](crate::Channel::parse).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a name",
    note = "use a literal \"room:42\", a tuple of parts such as `(\"room\", id)` for what is known at run time, or `parse` for a whole name"
)]
pub trait IntoName<N> {
    /// Builds the name.
    ///
    /// # Errors
    /// [`NameError`] when a part is empty, holds `:`, `*`, `,` or a control character, or the
    /// whole is over 256 bytes.
    fn into_name(self) -> Result<N, NameError>;
}

impl<N: Name> IntoName<N> for &'static str {
    fn into_name(self) -> Result<N, NameError> {
        N::parse(self)
    }
}

impl<N: Name> IntoName<N> for N {
    fn into_name(self) -> Result<N, NameError> {
        Ok(self)
    }
}

impl<N: Name + Clone> IntoName<N> for &N {
    fn into_name(self) -> Result<N, NameError> {
        Ok(self.clone())
    }
}

/// `grant.follow(Pattern::under(("user", id)))`: who takes a name takes its refusal, too.
impl<N: Name> IntoName<N> for Result<N, NameError> {
    fn into_name(self) -> Result<N, NameError> {
        self
    }
}

macro_rules! tuples {
    ($(($($part:ident),+))+) => {$(
        impl<Built: Name, $($part: fmt::Display),+> IntoName<Built> for ($($part,)+) {
            fn into_name(self) -> Result<Built, NameError> {
                #[allow(non_snake_case)]
                let ($($part,)+) = self;
                Built::from_parts(&[$(&$part),+])
            }
        }
    )+};
}
tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

/// Joins parts, each of which must be free of everything that means something.
pub(crate) fn join(parts: &[&dyn fmt::Display]) -> Result<Text, NameError> {
    let mut joined = String::new();
    for (index, part) in parts.iter().enumerate() {
        let part = part.to_string();
        check_part(&part)?;
        if index > 0 {
            joined.push(':');
        }
        joined.push_str(&part);
    }
    if joined.len() > MAX_BYTES {
        return Err(NameError::TooLong(joined.len()));
    }
    Ok(Text::Shared(joined.into()))
}

/// Checks a whole name in its string form.
pub(crate) fn check(text: &str, kind: Kind) -> Result<(), NameError> {
    if text.len() > MAX_BYTES {
        return Err(NameError::TooLong(text.len()));
    }
    let count = text.split(':').count();
    for (index, part) in text.split(':').enumerate() {
        match (kind, part) {
            (Kind::Pattern, "*") => {}
            (Kind::Pattern, "**") if index + 1 == count => {}
            _ => check_part(part)?,
        }
    }
    Ok(())
}

fn check_part(part: &str) -> Result<(), NameError> {
    if part.is_empty() {
        return Err(NameError::Empty(part.to_owned()));
    }
    // A comma separates channels in the query of the stream's URL.
    let forbidden = |c: char| matches!(c, ':' | '*' | ',') || c.is_control();
    match part.chars().find(|c| forbidden(*c)) {
        Some(found) => Err(NameError::Forbidden { part: part.to_owned(), found }),
        None => Ok(()),
    }
}

/// The `const` form of [`check`], for literals: ASCII rules only, which suffices because every character that
/// means something is ASCII; control characters outside ASCII are C1, two bytes from `0xC2 0x80`.
pub(crate) const fn is_literal(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_BYTES {
        return false;
    }
    let mut start = 0;
    let mut at = 0;
    while at <= bytes.len() {
        if at == bytes.len() || bytes[at] == b':' {
            if at == start {
                return false;
            }
            start = at + 1;
        } else {
            let byte = bytes[at];
            let c1 = byte == 0xC2 && at + 1 < bytes.len() && bytes[at + 1] < 0xA0;
            if byte < 0x20 || byte == 0x7F || byte == b'*' || byte == b',' || c1 {
                return false;
            }
        }
        at += 1;
    }
    true
}

/// Implements what all names share.
macro_rules! name_type {
    ($name:ident, $kind:expr) => {
        impl $crate::name::Name for $name {}
        impl $crate::name::sealed::Name for $name {
            fn parse(text: &str) -> Result<Self, $crate::name::NameError> {
                $name::parse(text)
            }
            fn from_parts(parts: &[&dyn std::fmt::Display]) -> Result<Self, $crate::name::NameError> {
                $crate::name::join(parts).map($name)
            }
        }
        impl $name {
            /// Parses the string form of a name that came from outside.
            ///
            /// # Errors
            /// [`NameError`](crate::NameError) when a part is empty or holds a character that names may not
            /// hold, or the whole is over 256 bytes.
            pub fn parse(text: &str) -> Result<Self, $crate::name::NameError> {
                $crate::name::check(text, $kind)?;
                Ok($name($crate::name::Text::Shared(text.into())))
            }

            /// The string form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::name::NameError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $name::parse(text)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use name_type;
