//! [`Visitor`]: the demo's sign-in.

use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, StatusCode};

use crate::Failure;

/// Who asks: the name in the cookie `user=alice`, or nobody.
///
/// A demo: it believes the cookie. A real app checks a session here, and nothing else changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visitor(Option<Arc<str>>);

impl Visitor {
    /// Reads the cookie. A name that is not 1 to 32 ASCII letters and digits is nobody's.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let name = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|cookie| cookie.trim().strip_prefix("user="))
            .filter(|name| (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric()));
        Visitor(name.map(Arc::from))
    }

    /// The name.
    ///
    /// # Errors
    /// 401 when nobody is signed in.
    pub fn name(&self) -> Result<&str, Failure> {
        self.signed_in().ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "Sign in first"))
    }

    /// The name, where being nobody is no failure.
    #[must_use]
    pub fn signed_in(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn signed_in(cookie: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(cookie))]);
        Visitor::of(&headers).signed_in().map(str::to_owned)
    }

    #[test]
    fn the_cookie_names_the_visitor() {
        assert_eq!(signed_in("user=alice").as_deref(), Some("alice"));
        assert_eq!(signed_in("theme=dark; user=bob").as_deref(), Some("bob"));
        assert_eq!(signed_in("superuser=eve"), None);
        assert_eq!(Visitor::of(&HeaderMap::new()), Visitor::default());
    }

    #[test]
    fn a_name_that_could_mean_something_else_is_nobodys() {
        for cookie in ["user=", "user=*", "user=alice:admin", "user=a,b", "user=a b"] {
            assert_eq!(signed_in(cookie), None, "{cookie}");
        }
    }
}
