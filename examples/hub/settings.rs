//! [`Settings`]: what the environment says.

use std::env::{self, VarError};

use tower_revalidate::Pattern;

use crate::token::{App, Users};

/// What the process needs to know.
pub(crate) struct Settings {
    pub(crate) app: App,
    pub(crate) users: Users,
    pub(crate) public: Vec<Pattern>,
    pub(crate) typing: Vec<Pattern>,
    pub(crate) relay: Vec<(Pattern, String)>,
    pub(crate) origins: Vec<String>,
}

impl Settings {
    /// # Errors
    /// Whatever is missing or wrong, by the name of its variable, and never by its value if that is a secret.
    pub(crate) fn from_env() -> Result<Self, String> {
        let token = var("TOKEN")?.ok_or("TOKEN is missing: what apps publish with, 16 bytes at least")?;
        if token.len() < 16 {
            return Err(format!("TOKEN has {} bytes and needs 16 at least", token.len()));
        }
        let secret = var("SECRET")?;
        // RFC 7518, 3.2: a key as long as the hash at least.
        if let Some(short) = secret.as_deref().map(str::len).filter(|len| *len < 32) {
            return Err(format!("SECRET has {short} bytes and needs 32 at least"));
        }
        Ok(Settings {
            app: App::new(token),
            users: Users::new(secret),
            public: list("PUBLIC", pattern)?,
            typing: list("TYPING", pattern)?,
            relay: list("RELAY", |entry| {
                let (channels, event) = entry.split_once('=').ok_or("it is to be `pattern=event`")?;
                Ok((pattern(channels)?, event.to_owned()))
            })?,
            origins: list("ORIGINS", |origin| Ok(origin.to_owned()))?,
        })
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|error| error.to_string())
}

/// What is set to nothing is not set.
fn var(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is no UTF-8")),
    }
}

fn list<T>(name: &str, entry: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let text = var(name)?.unwrap_or_default();
    let entries = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    entries.map(|text| entry(text).map_err(|error| format!("{name}: {text:?}: {error}"))).collect()
}
