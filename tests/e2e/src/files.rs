//! [`Files`]: pages and scripts of a test's own, before the app's routes.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

/// Directories whose files win over the app, the first that has one.
#[derive(Clone)]
pub struct Files(Arc<[PathBuf]>);

impl Files {
    /// Those that the variable `FILES` names, separated by `:`.
    #[must_use]
    pub fn from_env() -> Self {
        let files = std::env::var("FILES").unwrap_or_default();
        Files(files.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect())
    }

    fn read(&self, path: &str) -> Option<(PathBuf, Vec<u8>)> {
        let path = Path::new(path.trim_start_matches('/'));
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let mut files = self.0.iter().filter(|_| is_plain).map(|dir| dir.join(path));
        files.find_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes)))
    }

    /// Answers with a file where there is one: for [`axum::middleware::from_fn_with_state`].
    pub async fn first(State(files): State<Self>, request: Request, next: Next) -> Response {
        let Some((path, bytes)) = files.read(request.uri().path()) else { return next.run(request).await };
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "application/octet-stream",
        };
        ([(CONTENT_TYPE, kind)], bytes).into_response()
    }
}
