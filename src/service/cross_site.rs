//! Requests that a page of another site has a browser send, with the user's cookies (cross-site request forgery).
//!
//! By the means of Go's `net/http.CrossOriginProtection`: `Sec-Fetch-Site`, which browsers set themselves and no
//! page can (Fetch Metadata, 2.2); where there is none, `Origin` against the host that was asked. No token, no
//! state. It concerns credentials that a browser adds by itself. Who sends a bearer token of their own knows it,
//! and who sends neither header is no browser of this decade.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::Refusal;

/// The schemes of `Authorization` that a browser keeps and sends with every request to a site.
const AMBIENT: [&str; 4] = ["basic", "digest", "negotiate", "ntlm"];

/// Refuses what a page of another site may have asked for in the user's name.
pub(super) fn refuse(trusted: &[String], parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    if !is_ambient(headers) || is_own(parts) {
        return Ok(());
    }
    let origin = only(headers, &header::ORIGIN);
    if origin.is_some_and(|origin| trusted.iter().any(|trusted| origin == trusted.as_str())) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "crosssite", "another site asked for this in the user's name"))
}

/// Whether a browser may have added what tells whose request it is.
fn is_ambient(headers: &HeaderMap) -> bool {
    let scheme = |value: &HeaderValue| {
        let scheme = value.as_bytes().trim_ascii().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| AMBIENT.iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes())))
    };
    headers.contains_key(header::COOKIE) || headers.get_all(header::AUTHORIZATION).iter().any(scheme)
}

/// Whether a page of this very host asks, or the user, or none that a browser shows.
fn is_own(parts: &Parts) -> bool {
    let headers = &parts.headers;
    if headers.contains_key("sec-fetch-site") {
        let site = only(headers, &HeaderName::from_static("sec-fetch-site"));
        return site.is_some_and(|site| site == "same-origin" || site == "none");
    }
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    // A proxy that asks for another host than the browser did hides it: then the origin is to be trusted by name.
    let origin = only(headers, &header::ORIGIN).and_then(|origin| Uri::try_from(origin.as_bytes()).ok());
    let Some(origin) = origin else { return false };
    let default_port = match origin.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return false,
    };
    // HTTP/2 and absolute forms have the host in the URI, and then it is that one (RFC 9112, 3.2.2).
    let host = match parts.uri.authority() {
        Some(host) => Some(host.clone()),
        None => only(headers, &header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    let place =
        |place: &Authority| (place.host().to_ascii_lowercase(), place.port_u16().unwrap_or(default_port));
    host.as_ref().map(place) == origin.authority().map(place)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// An origin as browsers write it: scheme, host, and the port unless it is the scheme's own (WHATWG HTML, 7.1.1).
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let refused = || format!("{text:?} is no origin such as https://app.example.com");
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
    let rest = text.get(scheme.len() + "://".len()..).unwrap_or_default();
    if rest != authority.as_str() || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(refused());
    }
    let port = authority
        .port_u16()
        .filter(|port| (scheme, *port) != ("https", 443) && (scheme, *port) != ("http", 80));
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    Ok(format!("{}://{}{port}", scheme.to_ascii_lowercase(), authority.host().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn passes(uri: &str, headers: &[(&str, &str)]) -> bool {
        let request = Request::post(uri).header("cookie", "session=1");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let parts = request.body(()).unwrap().into_parts().0;
        refuse(&["https://app.example.com".into()], &parts).is_ok()
    }

    #[test]
    fn the_site_is_what_the_browser_says() {
        for (site, expected) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
            ("Same-Origin", false),
            ("something new", false),
        ] {
            assert_eq!(passes("/emit", &[("sec-fetch-site", site)]), expected, "{site:?}");
            let own = [("sec-fetch-site", site), ("origin", "https://x"), ("host", "x")];
            assert_eq!(passes("/emit", &own), expected, "`Origin` is not asked beside it: {site:?}");
            let trusted = [("sec-fetch-site", site), ("origin", "https://app.example.com")];
            assert!(passes("/emit", &trusted), "{site:?}");
        }
        assert!(!passes("/emit", &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn an_older_browser_is_known_by_its_origin() {
        for (origin, host, expected) in [
            ("https://example.com", "example.com", true),
            ("https://EXAMPLE.com", "example.COM", true),
            ("https://example.com", "example.com:443", true),
            ("http://example.com", "example.com:80", true),
            ("http://example.com:80", "example.com", true),
            ("http://[::1]:3000", "[::1]:3000", true),
            ("https://example.com", "example.com:80", false),
            ("https://example.com:8443", "example.com", false),
            ("https://example.com", "evil.com", false),
            ("https://example.com.evil.com", "example.com", false),
            ("https://evil.com", "example.com", false),
            ("null", "null", false),
            ("", "example.com", false),
            ("example.com", "example.com", false),
            ("ftp://example.com", "example.com", false),
            ("https://app.example.com", "example.com", true),
        ] {
            assert_eq!(passes("/emit", &[("origin", origin), ("host", host)]), expected, "{origin} {host}");
            if !host.starts_with('n') {
                let uri = format!("https://{host}/emit");
                assert_eq!(passes(&uri, &[("origin", origin)]), expected, "HTTP/2: {origin} {host}");
                assert_eq!(
                    passes(&uri, &[("origin", origin), ("host", "evil.com")]),
                    expected,
                    "the URI says which host"
                );
            }
        }
        assert!(passes("/emit", &[("host", "example.com")]), "no browser of this decade");
        let two = [("origin", "https://a"), ("origin", "https://b"), ("host", "a")];
        assert!(!passes("/emit", &two));
        assert!(!passes("/emit", &[("origin", "https://a"), ("host", "a"), ("host", "b")]));
        assert!(!passes("/emit", &[("origin", "https://a")]), "no host to compare with");
    }

    #[test]
    fn who_sends_a_token_of_their_own_may_come_from_anywhere() {
        let from_elsewhere = |name: &str, value: &str| {
            let request = Request::post("/emit").header("sec-fetch-site", "cross-site").header(name, value);
            refuse(&[], &request.body(()).unwrap().into_parts().0).is_ok()
        };
        assert!(from_elsewhere("authorization", "Bearer secret"));
        assert!(from_elsewhere("x-token", "secret"));
        for ambient in ["Basic YTpi", "basic YTpi", "Digest x", "Negotiate x", "NTLM x", "Negotiate"] {
            assert!(!from_elsewhere("authorization", ambient), "{ambient}");
        }
        assert!(!from_elsewhere("cookie", ""));
    }

    #[test]
    fn an_origin_is_trusted_as_browsers_write_it() {
        for (text, expected) in [
            ("https://app.example.com", Some("https://app.example.com")),
            ("https://App.Example.com:443", Some("https://app.example.com")),
            ("http://localhost:5173", Some("http://localhost:5173")),
            ("https://app.example.com/", None),
            ("https://app.example.com?", None),
            ("https://user@app.example.com", None),
            ("app.example.com", None),
            ("https://", None),
            ("null", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(origin(text).ok().as_deref(), expected, "{text:?}");
        }
    }
}
