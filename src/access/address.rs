//! [`ClientAddress`]: where a request comes from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use http::{HeaderMap, HeaderName};

/// How to tell the address that a request comes from: a request in tower does not know its peer.
///
/// What a client writes into a header is a claim. So say what stands between it and this process:
///
/// ```
/// use std::net::SocketAddr;
/// use axum::extract::ConnectInfo;
/// use tower_revalidate::{ClientAddress, Hub};
///
/// // one proxy in front, such as nginx or HAProxy, that *appends* to `X-Forwarded-For`
/// let behind_a_proxy = ClientAddress::forwarded_for(1);
/// // a CDN that *sets* a header of its own, and nobody can go around it
/// let behind_a_cdn = ClientAddress::header(http::HeaderName::from_static("cf-connecting-ip"));
/// // nothing in front: the peer of the socket, as axum's `into_make_service_with_connect_info` tells it
/// let directly = ClientAddress::by(|parts| {
///     parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
/// });
/// let hub = Hub::builder().client_address(behind_a_proxy).build()?;
/// # Ok::<(), tower_revalidate::BuildError>(())
/// ```
pub struct ClientAddress {
    tell: Box<Tell>,
    /// Why it never tells.
    pub(crate) wrong: Option<&'static str>,
    warned: AtomicBool,
}

type Tell = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

impl ClientAddress {
    /// By the app's own means: the peer's address that its server put into the request's extensions.
    pub fn by(address: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        ClientAddress { tell: Box::new(address), wrong: None, warned: AtomicBool::new(false) }
    }

    /// From `X-Forwarded-For`, with this many proxies of one's own in front, each of which appends the address
    /// that it was asked from. Counted from the right, so that what the client wrote there itself has no effect.
    /// None where fewer addresses stand there; with 0 hops the builder refuses it.
    pub fn forwarded_for(trusted_hops: usize) -> Self {
        let wrong = (trusted_hops == 0).then_some("without a proxy, `forwarded_for` is what clients claim");
        let by = Self::by(move |parts| {
            let hops = trusted_hops.checked_sub(1)?;
            // Several lines are one list (RFC 9110, 5.3). By the byte: what is no text on the left must not take
            // the right along.
            let lists: Vec<_> = parts.headers.get_all("x-forwarded-for").iter().collect();
            let mut entries =
                lists.iter().rev().flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
            address(std::str::from_utf8(entries.nth(hops)?).ok()?)
        });
        ClientAddress { wrong, ..by }
    }

    /// From a header that holds one address, and that a proxy or a CDN *sets*, whatever came in it. None where
    /// it stands twice.
    pub fn header(name: HeaderName) -> Self {
        Self::by(move |parts| address(only(&parts.headers, &name)?))
    }

    /// None where it cannot be told. A closure that panics cannot tell.
    pub(crate) fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let told = catch_unwind(AssertUnwindSafe(|| (self.tell)(parts))).unwrap_or_else(|_| {
            tracing::error!("the client address panicked");
            None
        });
        if told.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("the address of a request cannot be told; all such are counted as one client");
        }
        told.map(|address| address.to_canonical())
    }
}

/// Those whose address cannot be told are counted as one.
pub(crate) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(only)
}

/// An address, perhaps with a port as some proxies write it: `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAddress")
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(how: &ClientAddress, lines: &[(&str, impl AsRef<[u8]>)]) -> Option<String> {
        let request = lines
            .iter()
            .fold(Request::get("/"), |request, (name, value)| request.header(*name, value.as_ref()));
        how.of(&request.body(()).unwrap().into_parts().0).map(|address| address.to_string())
    }

    #[test]
    fn what_the_client_wrote_to_the_left_has_no_effect() {
        let list = |line| [("x-forwarded-for", line)];
        for (hops, line, expected) in [
            (1, "192.0.2.1", Some("192.0.2.1")),
            (1, "6.6.6.6, 192.0.2.1", Some("192.0.2.1")),
            (2, "6.6.6.6, 192.0.2.1, 10.0.0.1", Some("192.0.2.1")),
            (1, "6.6.6.6, nonsense", None),
            (2, "192.0.2.1", None),
            (0, "192.0.2.1", None),
            (1, "192.0.2.1:4711", Some("192.0.2.1")),
            (1, "[2001:db8::1]:4711", Some("2001:db8::1")),
            (1, "[2001:db8::1]", Some("2001:db8::1")),
            (1, "2001:db8::1", Some("2001:db8::1")),
            (1, "::ffff:192.0.2.1", Some("192.0.2.1")),
            (1, "", None),
            (1, "192.0.2.1,", None),
        ] {
            let seen = of(&ClientAddress::forwarded_for(hops), &list(line));
            assert_eq!(seen.as_deref(), expected, "{hops} {line:?}");
        }
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1, 10.0.0.1")];
        assert_eq!(of(&ClientAddress::forwarded_for(1), &two).as_deref(), Some("10.0.0.1"));
        assert_eq!(of(&ClientAddress::forwarded_for(3), &two).as_deref(), Some("6.6.6.6"));
        assert_eq!(of(&ClientAddress::forwarded_for(1), &[("x-other", "192.0.2.1")]), None);
        // Of a line that is no text the proxy's part still counts.
        let bytes = [("x-forwarded-for", &b"\xe9, 192.0.2.1"[..])];
        assert_eq!(of(&ClientAddress::forwarded_for(1), &bytes).as_deref(), Some("192.0.2.1"));
        assert_eq!(of(&ClientAddress::forwarded_for(2), &bytes), None);
    }

    #[test]
    fn a_header_that_stands_twice_says_nothing() {
        let how = ClientAddress::header(HeaderName::from_static("x-real-ip"));
        assert_eq!(of(&how, &[("x-real-ip", "192.0.2.1")]).as_deref(), Some("192.0.2.1"));
        assert_eq!(of(&how, &[("x-real-ip", "192.0.2.1"), ("x-real-ip", "6.6.6.6")]), None);
    }
}
