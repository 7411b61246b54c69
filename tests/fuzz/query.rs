//! Any request: never a status of 5xx, never a panic, and never more heard than the grant allows.

use std::collections::HashSet;
use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{Either, Full};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_revalidate::{Hub, Revalidate, RevalidateExt, SseBody};

use super::rights::{self, CHANNELS, SCOPES, is_name};
use super::{Input, Rights, Viewer, dispatched, on_runtime};

const QUERY: [&str; 36] = [
    "&channel=room:1",
    "&limit=",
    "1000",
    "&cursor=7",
    "channels=",
    "channels",
    "&channels=",
    "room:1",
    "room:2",
    "news",
    ",",
    "%2C",
    ":",
    "%3A",
    "*",
    "%2A",
    "**",
    "&",
    "=",
    "+",
    "%20",
    "%",
    "%0",
    "%00",
    "%0A",
    "%0d%0a",
    "%C3%A9",
    "%ff",
    "&lastEventId=",
    "&last_event_id=",
    "&presence=room:1",
    "&scopes=role:admin",
    "&user=8",
    "a-1",
    "user:7:a",
    "vault",
];
const PATHS: [&str; 9] = ["/realtime", "/events", "/", "//", "events", "%2F", "..", "x", "stats"];
/// Beside the stream; `broadcast` is not there.
const ENDPOINTS: [&str; 6] = [
    "/realtime/stats",
    "/stats",
    "/realtime/emit",
    "/realtime/broadcast",
    "/realtime/channel/users",
    "/channel/users",
];
const HEADERS: [&str; 11] = [
    "last-event-id",
    "x-revalidate-id",
    "x-revalidate-client",
    "x-user",
    "x-scopes",
    "cookie",
    "accept",
    "content-type",
    "forwarded",
    "origin",
    "sec-fetch-site",
];
const VALUES: [&str; 12] = [
    "a-1",
    "0",
    "0123456789abcdef0123456789abcdef",
    "user=8",
    "role:admin",
    ",",
    ";",
    "text/event-stream",
    " ",
    "x",
    "same-origin",
    "none",
];

/// A request, and for whom the app's middleware takes it.
struct Visit {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
    rights: Option<Rights>,
    /// Its query, read by an oracle of our own; what of that is to be followed, and what denied, in order.
    pairs: Vec<(String, String)>,
    followed: Vec<String>,
    joined: Vec<String>,
    denied: Vec<Value>,
    /// Through the layer and the mount, with the app behind it, or to the service alone.
    layered: bool,
    /// Whether it reads at once, and is woken for the rest.
    greeted: bool,
}

/// The cases are requests; they share a hub.
pub fn query(cases: &[&[u8]]) {
    on_runtime(async {
        let hub = rights::declare(Hub::builder())
            .stats(async |_| Ok(()))
            .channel_users(async |_| Ok(()))
            .seed(7)
            .build()
            .unwrap();
        rights::publish_everywhere(&hub, "before");
        let mut open = Vec::new();
        for case in cases {
            let Some(visit) = Visit::draw(&mut Input::new(case)) else { continue };
            let response = visit.send(&hub).await;
            if let Some(viewer) = visit.judge(response) {
                open.push((visit, viewer));
            }
        }
        let opened = open.len();
        assert_eq!(hub.stats().sessions, opened);
        rights::publish_everywhere(&hub, "after");
        dispatched().await;
        for (visit, viewer) in &mut open {
            viewer.read();
            visit.judge_stream(viewer);
        }
        drop(open);
        assert_eq!((hub.stats().sessions, hub.stats().subscriptions), (0, 0));
    });
}

impl Visit {
    fn draw(input: &mut Input<'_>) -> Option<Self> {
        let rights = (!input.once_in(4)).then(|| Rights::draw(input));
        let (layered, greeted) = (input.once_in(3), input.once_in(2));
        let method = match input.below(12) {
            0..=8 => Method::GET,
            9 => [Method::HEAD, Method::OPTIONS, Method::POST, Method::DELETE][input.below(4)].clone(),
            _ => Method::from_bytes(&input.soup(&["GET", "get", "Q", "-"])).unwrap_or(Method::TRACE),
        };
        let path = match input.below(10) {
            0..=5 => b"/realtime/events".to_vec(),
            6 | 7 => b"/events".to_vec(),
            8 => input.pick(&ENDPOINTS).as_bytes().to_vec(),
            _ => [b"/".to_vec(), input.soup(&PATHS)].concat(),
        };
        let asked: Vec<String> = (0..input.below(6)).map(|_| rights::name(input)).collect();
        let asked: String = form_urlencoded::byte_serialize(asked.join(",").as_bytes()).collect();
        let mut query = if input.once_in(4) { Vec::new() } else { format!("channels={asked}").into_bytes() };
        if input.once_in(4) {
            let presence: Vec<String> = (0..input.below(3)).map(|_| rights::name(input)).collect();
            query.extend_from_slice(b"&presence=");
            query.extend(form_urlencoded::byte_serialize(presence.join(",").as_bytes()).flat_map(str::bytes));
        }
        (0..input.below(8)).for_each(|_| input.stir(&mut query, &QUERY));
        let headers = (0..input.below(4)).filter_map(|_| {
            let name = match input.below(8) {
                7 => HeaderName::from_bytes(&input.soup(&HEADERS)),
                _ => HeaderName::from_bytes(input.pick(&HEADERS).as_bytes()),
            };
            name.ok().zip(HeaderValue::from_bytes(&input.soup(&VALUES)).ok())
        });
        let headers = headers.collect();
        let uri = uri(&[&path[..], b"?", &query].concat())?;
        let mut visit = Visit {
            method,
            headers,
            body: input.rest().to_vec(),
            rights,
            pairs: pairs(uri.query().unwrap_or_default()),
            followed: Vec::new(),
            joined: Vec::new(),
            denied: Vec::new(),
            uri,
            layered,
            greeted,
        };
        visit.ask();
        Some(visit)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(&self.body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(rights) = &self.rights {
            request.extensions_mut().insert(rights.grant());
        }
        request
    }

    async fn send(&self, hub: &Hub) -> Response<Option<SseBody>> {
        if !self.layered {
            return hub.service().oneshot(self.request()).await.unwrap().map(Some);
        }
        let app = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(()).revalidate(Revalidate::key("by.request").to("user:7")))
        });
        let stack = ServiceBuilder::new().layer(hub.layer()).layer(hub.mount_layer("realtime"));
        let response = stack.service(app).oneshot(self.request()).await.unwrap();
        response.map(|body| match body {
            Either::Left(events) => Some(events),
            Either::Right(()) => None,
        })
    }

    /// Answers as the documentation says; the stream, if one opened.
    fn judge(&self, response: Response<Option<SseBody>>) -> Option<Viewer> {
        let status = response.status().as_u16();
        let mounted =
            self.uri.path().strip_prefix("/realtime").filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let endpoint = mounted.unwrap_or(self.uri.path());
        let is_app = self.layered && mounted.is_none();
        let too_many = ["channels", "presence"].iter().any(|field| self.asked(field).len() > 256);
        let too_much = self.uri.query().unwrap_or_default().len() > 8192 || too_many;
        let expected = match self.method.as_str() {
            _ if is_app => 200,
            "POST" if endpoint == "/emit" => {
                assert!([400, 401, 403, 404, 413, 415].contains(&status), "{status}");
                status
            }
            "OPTIONS" if endpoint == "/emit" => 204,
            _ if endpoint == "/emit" => 405,
            "GET" | "HEAD" if endpoint == "/stats" => 200,
            "GET" | "HEAD" if endpoint == "/channel/users" => self.page(),
            "OPTIONS" if endpoint == "/stats" || endpoint == "/channel/users" => 204,
            _ if endpoint == "/stats" || endpoint == "/channel/users" => 405,
            _ if endpoint != "/events" => 404,
            "GET" if too_much => 400,
            "GET" | "HEAD" => 200,
            "OPTIONS" => 204,
            _ => 405,
        };
        assert_eq!(status, expected, "{} {}", self.method, self.uri);
        let is_stream =
            response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        assert_eq!(is_stream, expected == 200 && !is_app && endpoint == "/events");
        let stream = response.into_body().filter(|_| is_stream && self.method == Method::GET)?;
        let mut viewer = Viewer::new(stream, self.came_with().as_deref());
        if self.greeted {
            viewer.read();
        }
        Some(viewer)
    }

    /// Whether the query asks for a page of a channel's users.
    fn page(&self) -> u16 {
        let last = |field| self.pairs.iter().rfind(|(name, _)| name == field).map(|(_, value)| &**value);
        let digits = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<u64>();
        let fits =
            last("limit").is_none_or(|limit| digits(limit).is_ok_and(|limit| (1..=1000).contains(&limit)));
        if last("channel").is_some_and(is_name) && fits { 200 } else { 400 }
    }

    /// The header that a browser sends, else what stands last in the query.
    fn came_with(&self) -> Option<String> {
        let header = self.headers.iter().find(|(name, _)| name == "last-event-id");
        let query = self.pairs.iter().rfind(|(name, _)| name == "lastEventId" || name == "last_event_id");
        let text = match header.filter(|(_, value)| !value.is_empty()) {
            Some((_, value)) => value.to_str().ok().map(str::to_owned),
            None => Some(query.map(|(_, value)| value.clone()).unwrap_or_default()),
        };
        text.map(|text| text.trim().to_owned())
    }

    /// The names under a field of the query, each once.
    fn asked(&self, field: &str) -> Vec<String> {
        let lists = self.pairs.iter().filter(|(name, _)| name == field);
        let mut seen = HashSet::new();
        let names = lists.flat_map(|(_, list)| list.split(',')).filter(|name| !name.is_empty());
        names.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
    }

    /// Whether a page of another site may have had a browser send it: none of the origins is this host.
    fn is_of_another_site(&self) -> bool {
        let values = |name: &str| {
            let named = self.headers.iter().filter(|(known, _)| known == name);
            named.map(|(_, value)| value).collect::<Vec<_>>()
        };
        let is_own = match values("sec-fetch-site")[..] {
            [] => values("origin").is_empty(),
            [site] => site == "same-origin" || site == "none",
            _ => false,
        };
        !values("cookie").is_empty() && !is_own
    }

    fn ask(&mut self) {
        let nowhere = self.is_of_another_site();
        if nowhere {
            let refused = |channel| json!({"channel": channel, "code": "crosssite"});
            self.denied = self.asked("presence").into_iter().map(refused).collect();
        }
        for (field, is_presence) in [("channels", false), ("presence", true)] {
            if is_presence && nowhere {
                continue;
            }
            for channel in self.asked(field) {
                let may = is_name(&channel)
                    && if is_presence { self.may_join(&channel) } else { self.may_follow(&channel) };
                let code = match (is_name(&channel), may) {
                    (true, true) if is_presence => {
                        self.joined.push(channel);
                        continue;
                    }
                    (true, true) => {
                        self.followed.push(channel);
                        continue;
                    }
                    (true, false) => "accessdenied",
                    (false, _) => "malformed",
                };
                let denied = json!({"channel": channel, "code": code});
                if !self.denied.contains(&denied) {
                    self.denied.push(denied);
                }
            }
        }
    }

    fn may_follow(&self, channel: &str) -> bool {
        self.rights.as_ref().map_or_else(|| rights::is_public(channel), |rights| rights.may_follow(channel))
    }

    /// Who is nobody joins only where a grant says so.
    fn may_join(&self, channel: &str) -> bool {
        let rights = self.rights.as_ref();
        let is_let = rights.is_some_and(|rights| rights.user.is_some() || rights.allow(channel));
        is_let && self.may_follow(channel)
    }

    fn is(&self, scope: &str) -> bool {
        self.rights.as_ref().is_some_and(|rights| rights.is(scope))
    }

    /// Nothing is heard but what the grant allows, and all of that.
    fn judge_stream(&self, viewer: &Viewer) {
        let followed = &self.followed;
        let hello = viewer.hello();
        assert_eq!(hello["channels"], json!(followed));
        assert_eq!(hello["denied"], json!(self.denied));
        let joined = (!self.joined.is_empty()).then(|| json!(self.joined));
        assert_eq!(hello.get("presence"), joined.as_ref());
        let mut heard = Vec::new();
        for message in viewer.named("message") {
            let channel = message["channel"].as_str().unwrap();
            if message["event"] == "presence" || message["event"] == "presence_update" {
                assert!(self.joined.iter().any(|own| own == channel), "{message} is outside of the grant");
                continue;
            }
            assert!(followed.iter().any(|own| own == channel), "{message} is outside of the grant");
            assert_eq!(message["data"], channel, "a payload of another channel");
            if message["event"] == "after" {
                heard.push(channel.to_owned());
            }
        }
        let mut keys = viewer.keys();
        for key in &keys {
            let audience = key[1].as_str().unwrap();
            let own = audience == "everyone" || self.is(audience) || (key[0] == "by" && self.is("user:7"));
            assert!(own, "{key} is outside of the grant");
        }
        let is_fresh = self.came_with().is_some_and(|cursor| cursor.is_empty());
        if viewer.missed_all() {
            assert!(!is_fresh, "nothing can be missed by one who never was here");
            return;
        }
        let mut due: Vec<_> =
            CHANNELS.iter().filter(|name| followed.iter().any(|own| own == *name)).collect();
        due.sort();
        heard.sort();
        assert!(heard.iter().eq(due), "{heard:?} of what followed {followed:?}");
        keys.retain(|key| key[0] == "after");
        assert_eq!(keys.len(), 1 + SCOPES.iter().filter(|scope| self.is(scope)).count(), "{keys:?}");
    }
}

/// As it is if it can be one, else with all that a URI may not hold escaped.
fn uri(text: &[u8]) -> Option<Uri> {
    let escaped = |byte: &u8| match byte {
        b'!'..=b'~' if !b"\"#<>\\^`{|}".contains(byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let again = || text.iter().map(escaped).collect::<String>().parse().ok();
    Uri::try_from(text).ok().or_else(again)
}

/// `application/x-www-form-urlencoded`, as the URL Standard reads it (5.1).
fn pairs(query: &str) -> Vec<(String, String)> {
    let text = |text: &str| {
        let mut bytes = text.as_bytes().iter();
        let mut out = Vec::new();
        while let Some(&byte) = bytes.next() {
            let ahead = bytes.as_slice();
            let digit = |at: usize| ahead.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            match (byte, digit(0).zip(digit(1))) {
                (b'+', _) => out.push(b' '),
                (b'%', Some((high, low))) => {
                    out.push((high * 16 + low) as u8);
                    bytes.nth(1);
                }
                (byte, _) => out.push(byte),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
