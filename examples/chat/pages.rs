//! What `web/` builds, inside of the binary: `npm ci && npm run build` in `client/`, then in `web/`. It is committed, so
//! that the example needs no Node.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

/// The page, and its files. Their names do not change with their content, so a browser asks each time.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("web/dist/index.html"))))
        .route("/app.js", get(async || file("text/javascript", include_str!("web/dist/app.js"))))
        .route("/app.css", get(async || file("text/css", include_str!("web/dist/app.css"))))
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, "default-src 'self'; img-src data:"),
    ];
    (headers, content)
}
