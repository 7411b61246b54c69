//! A chat: axum, SQLite, React and TanStack Query. `cargo run -p example-chat --example chat`, then sign in as two
//! people, in two browsers (a private window is another browser).
//!
//! Here is where the hub goes, and what it keeps of which channel. [`session`] says who is who, and what they may
//! hear. [`rooms`], [`messages`], [`notifications`], [`documents`] and [`dashboard`] are a part of the app each: what
//! they store, what they answer, and who hears of it. [`events`] is what pages say without a request of their own
//! kind. [`pages`] serves what `web/` builds.

mod dashboard;
mod documents;
mod events;
mod messages;
mod notifications;
mod pages;
mod rooms;
mod seed;
mod session;
#[cfg(test)]
mod tests;

use std::error::Error;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::serve::ListenerExt;
use axum::{Router, middleware};
use examples_common::{Db, Failure, Refused};
use tower::Layer;
use tower_revalidate::{Audit, BuildError, Hub, Policy, PublishError};

use crate::dashboard::Aboard;

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
struct Chat {
    db: Db,
    hub: Hub,
    aboard: Aboard,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In memory, unless `DATABASE` names a file.
    let chat = Chat::new(seed::open(std::env::var_os("DATABASE"))?)?;
    chat.db.transaction(seed::tell_a_story).map_err(|Refused(failure)| failure)?;
    tokio::spawn(dashboard::run(chat.clone()));

    let app = app(&chat);
    let listener = examples_common::listen().await?.tap_io(|socket| examples_common::tune(socket));
    let (stop, overdue) = examples_common::shutdown(chat.hub);
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop) => served?,
        () = overdue => {}
    }
    Ok(())
}

impl Chat {
    /// What is not declared here can be neither followed nor published.
    fn new(db: Db) -> Result<Self, BuildError> {
        let aboard = Aboard::default();
        let (come, go) = (aboard.clone(), aboard.clone());
        let hub = Hub::builder()
            .declared_channels_only(true)
            .channel("room:*", Policy::history(256))
            .typing("room:*:typing")
            .channel("doc:*", Policy::history(64))
            .channel("doc:*:cursors", Policy::ephemeral())
            .channel("user:*:notifications", Policy::history(64))
            .channel("dashboard:metrics", Policy::latest())
            // Forgetting to say for whom is refused, and is not news for everyone.
            .scoped_key("rooms")
            .scoped_key("messages")
            .scoped_key("reports")
            .on_connect(move |session| come.comes(session.identity.as_deref()))
            .on_disconnect(move |session, _| go.goes(session.identity.as_deref()))
            .on_audit(|audit| {
                if let Audit::Fault(fault) = audit {
                    eprintln!("what a handler said was refused: {fault}");
                }
            })
            .build()?;
        let chat = Chat { db, hub, aboard };
        events::register(&chat);
        Ok(chat)
    }
}

/// The layer stands outside of all that commits: its news is heard after the commit, never before.
fn app(chat: &Chat) -> Router {
    let api = Router::new()
        .merge(session::routes())
        .merge(rooms::routes())
        .merge(messages::routes())
        .merge(notifications::routes())
        .merge(documents::routes())
        .fallback(async || Refused(Failure::not_found()))
        .method_not_allowed_fallback(async || Refused(Failure::method_not_allowed()));
    let realtime = middleware::from_fn(session::members_only).layer(chat.hub.service());
    Router::new()
        .nest("/api", api)
        .nest_service("/realtime", realtime)
        .merge(pages::pages())
        .layer(DefaultBodyLimit::max(examples_common::MAX_BODY))
        .layer(middleware::from_fn_with_state(chat.clone(), session::sign_in)) // around the mount too
        .layer(chat.hub.layer()) // last: it sees every route
        .with_state(chat.clone())
}

/// The event was not accepted: what it tells of is stored, and a second attempt tells it.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unavailable(error: PublishError) -> Refused {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into()
}
