//! The service alone, as a process of its own: browsers keep their streams here, apps publish over HTTP, in whatever
//! language, and may restart without a stream breaking. Configured by the environment:
//!
//! | variable | |
//! |---|---|
//! | `TOKEN` | what apps publish with; needed, 16 bytes at least |
//! | `SECRET` | what apps sign the tokens of users with, 32 bytes at least; without one everybody is a stranger |
//! | `PUBLIC` | channels that strangers may follow: patterns, separated by commas |
//! | `TYPING` | channels that say who is typing, as `room:*:typing` |
//! | `RELAY` | events that users may send to each other, as `room:*=said,doc:*=cursor` |
//! | `ORIGINS` | front ends of other origins, as browsers write them: `https://app.example.com` |
//! | `PORT`, `ADDRESS` | where it listens; 3000 on 127.0.0.1 |
//!
//! ```sh
//! export TOKEN=$(openssl rand -hex 16) SECRET=$(openssl rand -hex 32) PUBLIC=announcements
//! cargo run -p example-hub --example hub &
//! ```
//!
//! # Apps
//!
//! ```sh
//! post() { curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "localhost:3000/realtime/$@"; }
//! post broadcast -d '{"channel":"announcements","event":"announcement","payload":{"text":"hello"}}'
//! post revalidate -d '{"keys":["posts.list"]}'                       # for everyone
//! post revalidate -d '{"keys":[["users","me"]],"to":["user:alice"]}' # for one user's sessions
//! curl -H "Authorization: Bearer $TOKEN" localhost:3000/realtime/stats
//! curl localhost:3000/healthz
//! ```
//!
//! An answer of 200 says that the event stands, and that whoever is away for a while gets it later.
//!
//! # Browsers
//!
//! Strangers hear the public channels and what is stale for everyone. Whoever is more has a short-lived token that the
//! app made: a JWT, signed with `SECRET` by HS256.
//!
//! | claim | |
//! |---|---|
//! | `exp` | when it ends, and the stream with it; needed |
//! | `sub` | the user's id; gives the scope `user:{sub}`, and makes present |
//! | `follow`, `publish` | patterns of channels: what may be heard, and what may be sent where `TYPING` or `RELAY` lets |
//! | `scopes` | more scopes, as `role:admin` |
//! | `info` | what others may see of the user, in presence |
//!
//! ```sh
//! base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
//! signed() {
//!     text=$(printf '{"alg":"HS256"}' | base64url).$(printf %s "$1" | base64url)
//!     echo "$text.$(printf %s "$text" | openssl dgst -sha256 -hmac "$SECRET" -binary | base64url)"
//! }
//! JWT=$(signed '{"sub":"alice","follow":["room:*"],"exp":'$(($(date +%s) + 600))'}')
//! curl -N -H "Authorization: Bearer $JWT" 'localhost:3000/realtime/events?channels=room:1,announcements'
//! ```
//!
//! The crate's client asks for headers before each attempt, so that it always has a fresh one:
//!
//! ```js
//! import { createRealtime } from 'tower-revalidate';
//!
//! createRealtime({
//!   url: 'https://hub.example.com/realtime',
//!   identity: 'alice',
//!   headers: async () => ({ authorization: `Bearer ${await (await fetch('/hub-token')).text()}` }),
//! });
//! ```
//!
//! A browser's own `EventSource` sends no headers: there it is the cookie `hub_token`, set by the app for the domain of
//! both, `HttpOnly; Secure; SameSite=Strict`, with a `Max-Age` as long as the token lives. A token that does not hold is
//! 401, wherever it came from: who lost theirs is to be told, not made a stranger.

mod settings;
mod token;

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use settings::Settings;
use tower::ServiceBuilder;
use tower_http::cors::CorsLayer;
use tower_revalidate::{Audit, BuildError, Grant, Hub, Pattern, Policy, Refusal};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let cors = cors(&settings)?;
    let hub = hub(settings)?;
    let service = ServiceBuilder::new()
        .layer(cors) // outermost: what is refused has its headers, too
        .map_response(|response: Response<_>| response.map(UnsyncBoxBody::new))
        .layer(hub.mount_layer("/realtime"))
        .service_fn(|request| ready(Ok::<_, Infallible>(beside(&request))));

    examples_common::serve(service, hub).await
}

fn hub(settings: Settings) -> Result<Hub, BuildError> {
    let Settings { app, users, public, typing, relay, origins } = settings;
    // Three hooks ask who the app is.
    let app = std::sync::Arc::new(app);
    let is_app = move |parts: &Parts| match app.is(token::bearer(&parts.headers)) {
        true => Ok(()),
        false => Err(Refusal::unauthorized("this takes the app's `TOKEN`")),
    };
    let (publishes, counts, lists) = (is_app.clone(), is_app.clone(), is_app);

    let mut builder = Hub::builder()
        .authorize(move |parts| ready(users.grant(&parts.headers)))
        .broadcast(move |parts| ready(publishes(&parts).map(|()| Grant::user("app").publish(Pattern::any()))))
        .stats(move |parts| ready(counts(&parts)))
        .channel_users(move |parts| ready(lists(&parts)))
        .on_audit(|audit| {
            if let Audit::Refused { path, status, code, message, .. } = audit {
                eprintln!("{path:?}: {} {code}: {message:?}", status.as_u16());
            }
        });
    for pattern in public {
        builder = builder.channel(pattern, Policy::history(256).public());
    }
    for pattern in typing {
        builder = builder.typing(pattern);
    }
    for origin in origins {
        builder = builder.trust_origin(origin);
    }
    let hub = builder.build()?;
    for (pattern, event) in relay {
        hub.relay(pattern, &event);
    }
    Ok(hub)
}

/// For the pages of other origins: a list of them, for `*` excludes cookies.
fn cors(settings: &Settings) -> Result<CorsLayer, Box<dyn Error>> {
    let origins: Vec<HeaderValue> =
        settings.origins.iter().map(|origin| origin.parse()).collect::<Result<_, _>>()?;
    let name = HeaderName::from_static;
    Ok(CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            name("last-event-id"),
            name("x-revalidate-client"),
            name("x-revalidate-id"),
        ])
        .expose_headers([RETRY_AFTER])
        .max_age(Duration::from_secs(3600)))
}

/// What is not the mount. Who asks whether it is well asks until it listens no more.
fn beside<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "ok"),
        (_, "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, "only to be read"),
        _ => (StatusCode::NOT_FOUND, "the service is at /realtime"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET,HEAD"));
    }
    response
}
