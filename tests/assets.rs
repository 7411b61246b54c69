//! The browser client, as the service serves it: by the hash of what it holds for ever, else asked for again.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use axum::body::Body;
use axum::{Router, middleware};
use bytes::Bytes;
use common::{Visit, json};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_revalidate::{Hub, Refusal, SseBody};

const FILES: [&str; 3] = ["client.js", "worker.js", "auto.js"];
const FOR_EVER: &str = "public, max-age=31536000, immutable";

fn ask(method: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri(path).body(Empty::new()).unwrap()
}

async fn answer(hub: &Hub, method: &str, path: &str) -> Response<SseBody> {
    hub.service().oneshot(ask(method, path)).await.unwrap()
}

/// Whether the server answers 304 to these values of `If-None-Match`.
async fn is_known(hub: &Hub, method: &str, path: &str, tags: &[&str]) -> bool {
    let mut request = ask(method, path);
    for tag in tags {
        // Not only text: a tag may hold any byte above 0x7F.
        let value = http::HeaderValue::from_bytes(tag.as_bytes()).unwrap();
        request.headers_mut().append("if-none-match", value);
    }
    hub.service().oneshot(request).await.unwrap().status() == StatusCode::NOT_MODIFIED
}

async fn hash_of(hub: &Hub, file: &str) -> String {
    let head = answer(hub, "HEAD", &format!("/realtime/{file}")).await;
    let etag = head.headers()["etag"].to_str().unwrap();
    etag.strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned()
}

fn built(file: &str) -> String {
    let path = format!("{}/client/dist/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

async fn text<B: http_body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Row A21.
#[tokio::test(start_paused = true)]
async fn each_file_is_a_script_and_whole() {
    let hub = Hub::new();
    for file in FILES {
        for path in [format!("/realtime/{file}"), format!("/{file}")] {
            let response = answer(&hub, "GET", &path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let headers = response.headers().clone();
            assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["cache-control"], "no-cache");
            assert_eq!(headers["content-length"], built(file).len().to_string().as_str());
            assert_eq!(response.body().size_hint().exact(), Some(built(file).len() as u64));
            assert_eq!(text(response).await, built(file));

            let head = answer(&hub, "HEAD", &path).await;
            assert_eq!((head.status(), head.headers()), (StatusCode::OK, &headers), "{path}");
            assert!(head.body().is_end_stream());
        }
    }
    assert_eq!(hub.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn the_files_are_where_the_mount_is_and_nowhere_else() {
    let hub = Hub::builder().mount("/live").build().unwrap();
    for file in FILES {
        for (path, status) in [
            (format!("/live/{file}"), StatusCode::OK),
            (format!("/{file}"), StatusCode::OK),
            (format!("/realtime/{file}"), StatusCode::NOT_FOUND),
            (format!("/live/{file}/"), StatusCode::NOT_FOUND),
            (format!("/live//{file}"), StatusCode::NOT_FOUND),
            (format!("/live/{file}x"), StatusCode::NOT_FOUND),
            (format!("/live/x/{file}"), StatusCode::NOT_FOUND),
            (format!("/live{file}"), StatusCode::NOT_FOUND),
        ] {
            assert_eq!(answer(&hub, "GET", &path).await.status(), status, "{path}");
        }
        let elsewhere = hub.service().at("/there").oneshot(ask("GET", &format!("/there/{file}"))).await;
        assert_eq!(text(elsewhere.unwrap()).await, built(file));

        let nested = Router::new().nest("/api", Router::new().nest_service("/there", hub.service()));
        let request = Request::get(format!("/api/there/{file}")).body(Body::empty()).unwrap();
        assert_eq!(text(nested.oneshot(request).await.unwrap()).await, built(file));

        let inner = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
        let mounted = ServiceBuilder::new().layer(hub.mount_layer("/there")).service(inner);
        let there = mounted.oneshot(ask("GET", &format!("/there/{file}"))).await.unwrap();
        assert_eq!(text(there).await, built(file));
    }
    for path in ["/live/assets.rs", "/live/THIRD-PARTY.txt", "/live/types", "/live/"] {
        assert_eq!(answer(&hub, "GET", path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_version_may_be_kept_for_ever() {
    let hub = Hub::new();
    for file in FILES {
        let hash = hash_of(&hub, file).await;
        assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        let other = hash_of(&hub, FILES[(FILES.iter().position(|it| *it == file).unwrap() + 1) % 3]).await;
        for (query, control) in [
            (format!("?v={hash}"), FOR_EVER),
            (format!("?x=1&v={hash}"), FOR_EVER),
            (format!("?v={other}"), "no-cache"),
            (format!("?v={hash}0"), "no-cache"),
            (format!("?v={}", &hash[..15]), "no-cache"),
            (format!("?v={hash}&v=0"), "no-cache"),
            (format!("?x={hash}"), "no-cache"),
            (format!("?{hash}"), "no-cache"),
            ("?v=".to_owned(), "no-cache"),
            ("?".to_owned(), "no-cache"),
            (String::new(), "no-cache"),
        ] {
            let path = format!("/realtime/{file}{query}");
            for method in ["GET", "HEAD"] {
                let response = answer(&hub, method, &path).await;
                assert_eq!(response.status(), StatusCode::OK, "whatever is asked for, this is what there is");
                assert_eq!(response.headers()["cache-control"], control, "{method} {path}");
            }
            // What a 304 says of it takes the place of what was cached.
            let mut again = ask("GET", &path);
            again.headers_mut().insert("if-none-match", format!("\"{hash}\"").parse().unwrap());
            let again = hub.service().oneshot(again).await.unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(again.headers()["cache-control"], control, "{path}");
            assert_eq!(again.headers()["etag"], format!("\"{hash}\"").as_str());
            assert!(again.body().is_end_stream());
        }
    }
}

/// Each file knows the others by their hashes: those that were built together are served together.
#[tokio::test(start_paused = true)]
async fn what_the_files_ask_for_may_be_kept_for_ever() {
    let hub = Hub::new();
    for (asks, asked) in [("client.js", "worker.js"), ("auto.js", "client.js")] {
        let text = built(asks);
        let from = text.find(&format!("{asked}?v=")).unwrap_or_else(|| panic!("{asks} asks for no {asked}"));
        let url = text[from..].split(['"', '\'', '`']).next().unwrap();
        let response = answer(&hub, "GET", &format!("/realtime/{url}")).await;
        assert_eq!(response.headers()["cache-control"], FOR_EVER, "{asks} asks for {url}");
    }
}

/// RFC 9110, 13.1.2, by the weak comparison of 8.8.3.2.
#[tokio::test(start_paused = true)]
async fn who_has_the_file_is_told_so() {
    let hub = Hub::new();
    for file in FILES {
        let path = format!("/realtime/{file}");
        let hash = hash_of(&hub, file).await;
        let [tag, weak] = [format!("\"{hash}\""), format!("W/\"{hash}\"")];
        for tags in [
            vec![tag.as_str()],
            vec![&weak],
            vec!["*"],
            vec![" * "],
            vec![&format!("\"a\", {tag}")],
            vec![&format!("\"a\",W/\"b\" ,\t{weak},\"c\"")],
            vec![&format!(",, {tag},")],
            vec![&format!("\"a,b\", \"\", {tag}")],
            vec![&format!("\"ü\", {tag}")],
            vec!["\"a\"", &tag],
        ] {
            assert!(is_known(&hub, "GET", &path, &tags).await, "{tags:?}");
            assert!(is_known(&hub, "HEAD", &path, &tags).await, "{tags:?}");
        }
        for tags in [
            vec![],
            vec![""],
            vec!["\"\""],
            vec!["\"*\""],
            vec![hash.as_str()],
            vec![&format!("\"{hash}")],
            vec![&format!("\"{hash}x\"")],
            vec![&format!("\"x{hash}\"")],
            vec![&format!("\"x,{hash},y\"")],
            vec![&format!("w/{tag}")],
            vec![&format!("W/W/{tag}")],
            vec!["\"a\"", "W/\"b\""],
        ] {
            assert!(!is_known(&hub, "GET", &path, &tags).await, "{tags:?}");
            assert!(!is_known(&hub, "HEAD", &path, &tags).await, "{tags:?}");
        }
        // A condition of another method is not one of reading.
        assert!(!is_known(&hub, "POST", &path, &[&tag]).await);
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_is_answered_with_those_that_are_allowed() {
    let hub = Hub::new();
    for file in FILES {
        let path = format!("/realtime/{file}");
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
            let response = answer(&hub, method, &path).await;
            assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS", "{method}");
            let (status, error) = json(response).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(error["code"], "methodnotallowed");
        }
        let options = answer(&hub, "OPTIONS", &path).await;
        assert_eq!(options.status(), StatusCode::NO_CONTENT);
        assert_eq!(options.headers()["allow"], "GET, HEAD, OPTIONS");
        assert!(options.body().is_end_stream());
    }
}

/// They hold nothing of anyone's.
#[tokio::test(start_paused = true)]
async fn the_files_are_for_whoever_may_reach_the_mount() {
    let hub = Hub::builder()
        .authorize(|_| async { Err(Refusal::unauthorized("not you")) })
        .require_https(|_| false)
        .max_sessions(0)
        .build()
        .unwrap();
    assert_ne!(Visit::stranger().answer(&hub).await.status(), StatusCode::OK);
    for file in FILES {
        assert_eq!(text(answer(&hub, "GET", &format!("/realtime/{file}")).await).await, built(file));
    }
    // A page that is open while the server goes down may still load what it is made of.
    hub.shutdown();
    for file in FILES {
        assert_eq!(text(answer(&hub, "GET", &format!("/realtime/{file}")).await).await, built(file));
    }
}

/// The app's own middleware stands before them, as before all that is mounted.
#[tokio::test(start_paused = true)]
async fn a_layer_outside_that_refuses_also_refuses_the_files() {
    let hub = Hub::new();
    let guard = middleware::from_fn(async |request: axum::extract::Request, next: middleware::Next| {
        match request.headers().contains_key("authorization") {
            true => next.run(request).await,
            false => Response::builder().status(401).body(Body::empty()).unwrap(),
        }
    });
    let app = Router::new().nest_service("/realtime", hub.service()).layer(hub.layer()).layer(guard);
    let ask = |file: &str| Request::get(format!("/realtime/{file}"));
    for file in FILES {
        let refused = app.clone().oneshot(ask(file).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let signed_in = ask(file).header("authorization", "yes").body(Body::empty()).unwrap();
        assert_eq!(text(app.clone().oneshot(signed_in).await.unwrap()).await, built(file));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_not_enabled_serves_no_files() {
    let hub = Hub::builder().enabled(false).build().unwrap();
    for file in FILES {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            let (status, error) = json(answer(&hub, method, &format!("/realtime/{file}")).await).await;
            assert_eq!((status, &error["code"]), (StatusCode::NOT_FOUND, &"notfound".into()));
        }
    }
}

/// One is released with the other, and the client's messages name the version that a user looks up.
#[test]
fn the_npm_package_has_the_version_of_the_crate() {
    let version = |file: &str| {
        let path = format!("{}/client/{file}", env!("CARGO_MANIFEST_DIR"));
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        json["version"].as_str().unwrap().to_owned()
    };
    assert_eq!(version("package.json"), env!("CARGO_PKG_VERSION"));
    assert_eq!(version("package-lock.json"), env!("CARGO_PKG_VERSION"));
    for file in FILES {
        let banner = format!("/*! tower-revalidate {},", env!("CARGO_PKG_VERSION"));
        assert!(built(file).starts_with(&banner), "{file} was not built again");
    }
}
