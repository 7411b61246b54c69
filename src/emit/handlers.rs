//! [`Handlers`]: who handles which event on which channels.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::event::Context;
use super::{ClientEvent, Needs};
use crate::{Channel, Pattern, Refusal};

/// A handler at work; it gives the answer as JSON.
pub(super) type AtWork = Pin<Box<dyn Future<Output = Result<Vec<u8>, Refusal>> + Send>>;

type Run = dyn Fn(Context, &RawValue) -> Result<AtWork, Refusal> + Send + Sync;

pub(super) struct Handler {
    pattern: Pattern,
    pub(super) needs: Needs,
    run: Box<Run>,
}

impl Handler {
    pub(super) fn new<T, R, F, Fut>(pattern: Pattern, needs: Needs, handler: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(ClientEvent<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Refusal>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |context: Context, data: &RawValue| {
            let data: T = serde_json::from_str(data.get()).map_err(|error| {
                Refusal::invalid(format!("the data is not what {:?} takes: {error}", context.event))
            })?;
            let handler = handler.clone();
            // The closure itself is called in its turn, too.
            let at_work: AtWork = Box::pin(async move {
                let answer = handler(ClientEvent { data, context }).await?;
                serde_json::to_vec(&answer).map_err(Refusal::error)
            });
            Ok(at_work)
        };
        Handler { pattern, needs, run: Box::new(run) }
    }

    /// Reads the payload, and has the handler ready to run.
    pub(super) fn run(&self, context: Context, data: &RawValue) -> Result<AtWork, Refusal> {
        (self.run)(context, data)
    }
}

/// By the event's name, of each the most specific pattern first. Who reads takes a handler out and holds no lock
/// while it runs.
#[derive(Default)]
pub(super) struct Handlers {
    built_in: RwLock<Table>,
    of_app: RwLock<Table>,
}

type Table = HashMap<Box<str>, Vec<Arc<Handler>>>;

impl Handlers {
    pub(super) fn add(&self, event: Box<str>, handler: Handler) {
        insert(&mut self.of_app.write(), event, handler);
    }

    pub(super) fn add_built_in(&self, event: Box<str>, handler: Handler) {
        insert(&mut self.built_in.write(), event, handler);
    }

    pub(super) fn find(&self, event: &str, channel: &Channel) -> Option<Arc<Handler>> {
        find(&self.of_app.read(), event, channel)
    }

    pub(super) fn find_built_in(&self, event: &str, channel: &Channel) -> Option<Arc<Handler>> {
        find(&self.built_in.read(), event, channel)
    }
}

fn insert(table: &mut Table, event: Box<str>, handler: Handler) {
    let handlers = table.entry(event).or_default();
    handlers.retain(|known| known.pattern != handler.pattern);
    handlers.push(Arc::new(handler));
    handlers.sort_by_cached_key(|handler| std::cmp::Reverse(handler.pattern.specificity()));
}

fn find(table: &Table, event: &str, channel: &Channel) -> Option<Arc<Handler>> {
    table.get(event)?.iter().find(|handler| handler.pattern.matches(channel)).cloned()
}
