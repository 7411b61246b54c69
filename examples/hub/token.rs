//! Who may do what: the app's token ([`App`]), and those that it made for its users ([`Users`]).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, UntrustedToken};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use tower_revalidate::{Grant, Pattern, Refusal, Scope};

/// The apps, which have one token.
pub(crate) struct App {
    token: String,
}

impl App {
    pub(crate) fn new(token: String) -> Self {
        App { token }
    }

    /// In a time that does not tell how much of it was right; how long the token is may be known.
    pub(crate) fn is(&self, said: Option<&str>) -> bool {
        said.is_some_and(|said| said.as_bytes().ct_eq(self.token.as_bytes()).into())
    }
}

/// The users, each of whom has what the app signed.
pub(crate) struct Users {
    key: Option<Hs256Key>,
}

/// What a token says besides `exp` and `nbf`.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    #[serde(default)]
    follow: Vec<Pattern>,
    #[serde(default)]
    publish: Vec<Pattern>,
    #[serde(default)]
    scopes: Vec<Scope>,
    info: Option<Value>,
}

impl Users {
    /// With no secret there is nobody but strangers.
    pub(crate) fn new(secret: Option<String>) -> Self {
        Users { key: secret.map(|secret| Hs256Key::new(secret.as_bytes())) }
    }

    /// The token in `Authorization: Bearer`, else in the cookie. None is a stranger; one that does not hold is none
    /// of these.
    pub(crate) fn grant(&self, headers: &HeaderMap) -> Result<Grant, Refusal> {
        match bearer(headers).or_else(|| cookie(headers, "hub_token")) {
            Some(token) => self.verify(token).map_err(Refusal::unauthorized),
            None if headers.contains_key(AUTHORIZATION) => {
                Err(Refusal::unauthorized("a bearer token is taken"))
            }
            None => Ok(Grant::anonymous()),
        }
    }

    /// The algorithm is the one that is asked for here, whatever the token's head says (RFC 8725, 3.1).
    fn verify(&self, token: &str) -> Result<Grant, String> {
        let key = self.key.as_ref().ok_or("without `SECRET` no token is taken")?;
        let token = UntrustedToken::new(token).map_err(|error| format!("the token is none: {error}"))?;
        let token = Hs256.validator::<Claims>(key).validate(&token);
        let (_, claims) = token.map_err(|error| format!("the token does not hold: {error}"))?.into_parts();

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_epoch = |timestamp: i64| Duration::from_secs(timestamp.try_into().unwrap_or_default());
        if claims.not_before.is_some_and(|time| since_epoch(time.timestamp()) > now) {
            return Err("the token does not hold yet".into());
        }
        let until = claims.expiration.ok_or("the token has no `exp`")?;
        let left = since_epoch(until.timestamp()).checked_sub(now).ok_or("the token has expired")?;

        let Claims { sub, follow, publish, scopes, info } = claims.custom;
        let mut grant = match sub {
            // What cannot be a part of a name would have no scope, and hear nothing of what is its own.
            Some(user) => Scope::new(("user", &user))
                .map(|_| Grant::user(user))
                .map_err(|error| format!("the token's `sub`: {error}"))?,
            None => Grant::anonymous(),
        };
        grant = scopes.into_iter().fold(grant, Grant::scope);
        grant = follow.into_iter().fold(grant, Grant::follow);
        grant = publish.into_iter().fold(grant, Grant::publish);
        if let Some(info) = info {
            grant = grant.info(info);
        }
        Ok(grant.expires_in(left))
    }
}

/// `Authorization: Bearer …`, of which the scheme is written in any case (RFC 9110, 11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}
