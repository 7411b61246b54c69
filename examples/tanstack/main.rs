//! A web app: axum, SQLite, React and TanStack Query. `cargo run -p example-tanstack --example tanstack`, then open
//! two windows, one as alice and one as bob.
//!
//! Here is where the hub goes, and who is who. [`routes`] says what each handler changed, [`db`] stores it, and
//! [`pages`] serves what `web/` builds.

mod db;
mod pages;
mod routes;
#[cfg(test)]
mod tests;

use std::error::Error;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::ListenerExt;
use examples_common::{Db, Visitor};
use tower_revalidate::{Audit, Grant, Hub};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In memory, unless `DATABASE` names a file.
    let db = db::open(std::env::var_os("DATABASE"))?;
    let hub = Hub::builder()
        .on_audit(|audit| {
            if let Audit::Fault(fault) = audit {
                eprintln!("what a handler said was refused: {fault}");
            }
        })
        .build()?;

    let app = app(&hub, db);
    let listener = examples_common::listen().await?.tap_io(|socket| examples_common::tune(socket));
    let (stop, overdue) = examples_common::shutdown(hub);
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop) => served?,
        () = overdue => {}
    }
    Ok(())
}

/// The layer stands outside of all that commits: its news is heard after the commit, never before. Here the handlers
/// commit themselves; a middleware that holds a transaction for each request would go where `sign_in` is, further in.
fn app(hub: &Hub, db: Db) -> Router {
    Router::new()
        .nest("/api", routes::routes())
        .nest_service("/realtime", hub.service())
        .merge(pages::pages())
        .layer(DefaultBodyLimit::max(examples_common::MAX_BODY))
        .layer(middleware::from_fn(sign_in)) // around the mount too
        .layer(hub.layer()) // last: it sees every route
        .with_state(db)
}

/// Whose request it is. The realtime endpoint finds the [`Grant`] in the request's extensions: it gives a connection
/// the scope `user:{name}`, and so what is published `.to(("user", name))`.
///
/// A demo: it believes the cookie. A real app checks a session here, and nothing else changes.
async fn sign_in(mut request: Request, next: Next) -> Response {
    let visitor = Visitor::of(request.headers());
    let grant = visitor.signed_in().map_or_else(Grant::anonymous, Grant::user);
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(grant);
    next.run(request).await
}
