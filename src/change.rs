//! [`Change`]: a record was created, updated or deleted, told to those who follow it.
//!
//! Where a [`Revalidate`](crate::Revalidate) has a browser read again, a change brings the record itself: to the
//! channels `resource:{name}` and `record:{name}:{id}`, as the event `data_change`. In the browser
//! `realtime.resource('posts', …)` and `realtime.record('posts', 7, …)` hear it.
//!
//! A handler says it with its response, and the [layer](crate::layer) publishes it on 2xx and 3xx; everything else
//! calls [`Hub::change`]: jobs, workers, a trigger of the database.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower_revalidate::{Change, DataChangeEvent, Event, Grant, Hub, Operation};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Post { id: u64, title: String }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder()
//!     .resources(["posts"])                                        // others leave nothing
//!     .filter_changes(|change| Some(change.edit(|data| {           // before any data leaves
//!         data.as_object_mut().map(|post| post.remove("draft"));
//!     })))
//!     .build()?;
//! let mut one = hub.subscribe(Grant::user("alice").follow("record:posts:*"))?.follow(("record", "posts", 7))?;
//!
//! let post = Post { id: 7, title: "Hello".into() };
//! hub.change("posts", Operation::Create, post.id, &post);
//! hub.publish_change(Change::delete("posts", post.id).version(2)).await?;
//!
//! let Event::Message(message) = one.recv().await? else { unreachable!() };
//! let heard: DataChangeEvent<Post> = message.json()?;
//! assert_eq!((heard.operation, heard.data), (Operation::Create, Some(post)));
//! let Event::Message(message) = one.recv().await? else { unreachable!() };
//! assert_eq!(message.data, r#"{"operation":"delete","id":7,"version":2}"#);
//! # Ok(()) }
//! ```
//!
//! # Who hears it
//!
//! Whoever the [`Grant`](crate::Grant) lets follow the channel, and they hear the same data: `follow("resource:posts")`
//! is every post there will be, `follow("record:posts:*")` any one of them. What not all of them may see does not belong
//! into the data; [`Builder::filter_changes`] takes it out in one place.
//!
//! # What is kept of it
//!
//! A change stands in two channels, and is kept twice, as their policies say. Where many records change,
//! `.channel("record:**", Policy::history(8))` keeps little of each.
//!
//! # As often as it is said
//!
//! A client that reads a list and follows it may hear of a row twice: fold by the record's id and its
//! [`version`](Change::version), as the client's `useStream` does.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Extensions, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Audit, Builder, Channel, Hub, NameError, PublishError, Receipt};

/// The name of the event.
const EVENT: &str = "data_change";
/// The largest integer that every reader of JSON keeps exactly (RFC 8259, 6).
const EXACT: u64 = (1 << 53) - 1;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is new.
    Create,
    /// It is another than it was.
    Update,
    /// It is gone; no data tells of it.
    Delete,
}

/// What became of one record: the response extension that the [`RevalidateLayer`](crate::RevalidateLayer) takes and
/// publishes, or an argument of [`Hub::publish_change`]. See the [module docs](self).
///
/// Constructors never fail, for a handler has nobody to tell: what they refuse is an error of the receipt, and of a
/// response it is told to the audit.
///
/// ```
/// # use serde_json::json;
/// use tower_revalidate::{Change, ChangeExt};
///
/// let response = http::Response::new("renamed")
///     .change(Change::update("posts", 7, &json!({"title": "Hello"})).version(3))
///     .change(Change::delete("drafts", "b2c4"));
/// # drop(response);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a `Change` does nothing until a response carries it or the hub publishes it"]
pub struct Change {
    resource: String,
    operation: Operation,
    id: Value,
    data: Option<Box<RawValue>>,
    version: Option<u64>,
    /// What was refused first.
    refused: Option<ChangeError>,
}

/// Why a [`Change`] was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The id is neither a string nor an integer.
    #[error("a record's id must be a string or an integer, and is {0}")]
    Id(String),
    /// The resource or the id cannot be a part of a channel's name.
    #[error("no channel has this name: {0}")]
    Name(#[from] NameError),
    /// The data does not serialise.
    #[error("the record cannot be serialised: {0}")]
    Data(String),
    /// The hook of [`Builder::filter_changes`] panicked, so nothing left.
    #[error("the filter of changes panicked")]
    FilterPanicked,
}

/// What a `data_change` holds, for those who read it in process.
///
/// In a browser `id` is a number or a string. An integer beyond 2^53 − 1 is sent as a string, since a browser would
/// round it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct DataChangeEvent<T = Value> {
    /// What became of it.
    pub operation: Operation,
    /// Which record: a string or an integer.
    pub id: Value,
    /// The record; none where it was deleted, or where nothing was said of it.
    #[serde(default = "none", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
    /// Rises with each change of the record, where the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

fn none<T>() -> Option<T> {
    None
}

/// A record may be `null`; what is absent comes to [`none`].
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Change {
    /// What became of the record `id` of a resource. The id is anything that serialises as a string or an integer;
    /// of both, the resource and the id, anything that can be a [part of a name](crate::IntoName).
    pub fn new(resource: impl Into<String>, operation: Operation, id: impl Serialize) -> Self {
        let (id, refused) = match record_id(&id) {
            Ok(id) => (id, None),
            Err(what) => (Value::Null, Some(ChangeError::Id(what))),
        };
        Change { resource: resource.into(), operation, id, data: None, version: None, refused }
    }

    /// A new record.
    pub fn create(resource: impl Into<String>, id: impl Serialize, data: &(impl Serialize + ?Sized)) -> Self {
        Self::new(resource, Operation::Create, id).data(data)
    }

    /// A record that changed.
    pub fn update(resource: impl Into<String>, id: impl Serialize, data: &(impl Serialize + ?Sized)) -> Self {
        Self::new(resource, Operation::Update, id).data(data)
    }

    /// A record that is gone.
    pub fn delete(resource: impl Into<String>, id: impl Serialize) -> Self {
        Self::new(resource, Operation::Delete, id)
    }

    /// What the record is now, whatever JSON it is. A delete has no data, and does not look at this.
    pub fn data(mut self, data: &(impl Serialize + ?Sized)) -> Self {
        if self.operation != Operation::Delete {
            match serde_json::value::to_raw_value(data) {
                Ok(data) => self.data = Some(data),
                Err(error) => self.refuse(ChangeError::Data(error.to_string())),
            }
        }
        self
    }

    /// A number that rises with each change of this record, up to 2^53 − 1 for browsers: by it a client tells news
    /// from what it has already.
    pub fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Changes the data in place, if there is any: for [`Builder::filter_changes`].
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let Some(data) = self.data.take() else { return self };
        match serde_json::from_str(data.get()) {
            Ok(mut data) => {
                edit(&mut data);
                self.data(&data)
            }
            // Too deep for a `Value`, so that nobody can look at it. As it is it must not leave.
            Err(error) => {
                self.refuse(ChangeError::Data(error.to_string()));
                self
            }
        }
    }

    /// The resource's name.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What became of the record.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The record's id: a string or an integer; `null` if it was refused.
    #[must_use]
    pub fn id(&self) -> &Value {
        &self.id
    }

    /// Reads the data. Where there is none, it reads `null`.
    ///
    /// # Errors
    /// When the data is not of this shape.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.data.as_ref().map_or("null", |data| data.get()))
    }

    /// Puts it into the extensions of a response, *beside* those that are there. For frameworks whose responses are
    /// types of their own; where they are `http`'s, [`ChangeExt`] reads better.
    pub fn merge_into(self, extensions: &mut Extensions) {
        let mut changes = take(extensions);
        changes.push(self);
        extensions.insert(Changes(changes));
    }

    fn refuse(&mut self, error: ChangeError) {
        self.refused.get_or_insert(error);
    }

    /// Where it is told, if it can be.
    fn channels(&self) -> Result<[Channel; 2], ChangeError> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        let id: &dyn fmt::Display = match &self.id {
            Value::String(id) => id,
            id => id,
        };
        Ok([Channel::new(("resource", &self.resource))?, Channel::new(("record", &self.resource, id))?])
    }
}

/// An id as JSON, or what it is instead of one.
fn record_id(id: &impl Serialize) -> Result<Value, String> {
    match serde_json::to_value(id) {
        Ok(Value::Number(id)) if id.as_i64().is_some_and(|id| id.unsigned_abs() <= EXACT) => Ok(id.into()),
        Ok(Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(id.to_string().into()),
        Ok(id @ Value::String(_)) => Ok(id),
        // A whole record in the place of its id has no place in a log.
        Ok(Value::Object(_)) => Err("an object".into()),
        Ok(Value::Array(_)) => Err("an array".into()),
        Ok(other) => Err(other.to_string()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

/// In the extensions of a response: all that it says, in its order.
#[derive(Debug, Clone)]
struct Changes(Vec<Change>);

/// Takes out what a response says: what was merged, and a bare `Change` that was inserted.
pub(crate) fn take(extensions: &mut Extensions) -> Vec<Change> {
    let mut changes = extensions.remove::<Changes>().map_or_else(Vec::new, |Changes(changes)| changes);
    changes.extend(extensions.remove::<Change>());
    changes
}

/// Sets a [`Change`] on a response, *beside* those that are there: `extensions_mut().insert` would replace one.
pub trait ChangeExt: Sized {
    /// Adds to what this response tells of records.
    #[must_use]
    fn change(self, change: Change) -> Self;
}

impl<B> ChangeExt for Response<B> {
    fn change(mut self, change: Change) -> Self {
        change.merge_into(self.extensions_mut());
        self
    }
}

impl ChangeExt for http::response::Parts {
    fn change(mut self, change: Change) -> Self {
        change.merge_into(&mut self.extensions);
        self
    }
}

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
mod axum_impls {
    use std::convert::Infallible;

    use axum_core::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};

    use super::{Change, ChangeExt as _};

    /// A part of a tuple: `(StatusCode::OK, Change::update("posts", id, &post), Json(post))`. Several stand beside each
    /// other.
    impl IntoResponseParts for Change {
        type Error = Infallible;
        fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
            self.merge_into(response.extensions_mut());
            Ok(response)
        }
    }

    /// An empty 200 that carries it.
    impl IntoResponse for Change {
        fn into_response(self) -> Response {
            ().into_response().change(self)
        }
    }
}

/// Which changes leave.
#[derive(Default)]
pub(crate) struct Rules {
    /// None: all.
    resources: Vec<String>,
    filter: Option<Box<dyn Fn(Change) -> Option<Change> + Send + Sync>>,
}

impl Rules {
    fn list(&self, change: &Change) -> bool {
        self.resources.is_empty() || self.resources.contains(&change.resource)
    }

    /// The change as it may leave.
    fn pass(&self, change: Change) -> Result<Option<Change>, ChangeError> {
        let passed = match &self.filter {
            Some(filter) if self.list(&change) => {
                catch_unwind(AssertUnwindSafe(|| filter(change))).map_err(|_| ChangeError::FilterPanicked)?
            }
            _ => Some(change),
        };
        Ok(passed.filter(|change| self.list(change)))
    }
}

/// # Record changes
impl Builder {
    /// The resources whose [changes](crate::change) are published; of others nothing leaves, and that is no error.
    /// Several calls add up. Default: all.
    pub fn resources(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        for name in names.into_iter().map(Into::into) {
            match Channel::new(("resource", &name)) {
                Ok(_) => self.options.changes.resources.push(name),
                Err(error) => self.refuse("resources", error.to_string()),
            }
        }
        self
    }

    /// Looks at each [`Change`] before any of its data leaves, and says what does: the change as it came, one
    /// [edited](Change::edit), or nothing, which is no error. It must not block. If it panics nothing leaves, and the
    /// receipt says so.
    pub fn filter_changes(
        mut self,
        filter: impl Fn(Change) -> Option<Change> + Send + Sync + 'static,
    ) -> Self {
        self.options.changes.filter = Some(Box::new(filter));
        self
    }
}

/// # Record changes
impl Hub {
    /// Tells of a record that was created, updated or deleted; see [`change`](crate::change). A delete does not look
    /// at `data`.
    ///
    /// ```
    /// # use tower_revalidate::{Hub, Operation};
    /// # let (hub, post) = (Hub::new(), serde_json::json!({"title": "Hello"}));
    /// hub.change("posts", Operation::Update, 7, &post);
    /// ```
    pub fn change(
        &self,
        resource: impl Into<String>,
        operation: Operation,
        id: impl Serialize,
        data: &(impl Serialize + ?Sized),
    ) -> Receipt {
        self.publish_change(Change::new(resource, operation, id).data(data))
    }

    /// Tells of a [`Change`]. What is refused is an error of the receipt, which is of both channels; it is told to the
    /// audit, too, since a receipt may be dropped. A channel that is refused alone, as not declared or by the filter of
    /// messages, does not keep it from the other.
    pub fn publish_change(&self, change: Change) -> Receipt {
        let (resource, id) = (change.resource.clone(), change.id.clone());
        let tell = |error: &PublishError| {
            self.shared.audit(&Audit::Change { resource: &resource, id: &id, error });
        };
        match self.told(change) {
            Ok(receipts) => {
                receipts.iter().find_map(Receipt::error).into_iter().for_each(tell);
                self.shared.join(receipts)
            }
            Err(error) => {
                let error = PublishError::Change(error);
                tell(&error);
                Receipt::failed(error)
            }
        }
    }

    /// A receipt a channel; none where it is nobody's business.
    fn told(&self, change: Change) -> Result<Vec<Receipt>, ChangeError> {
        // Also of what is not listed: a name that cannot be is not silence by intent.
        change.channels()?;
        let Some(change) = self.shared.options.changes.pass(change)? else {
            tracing::debug!("a change was not listed, or was filtered out");
            return Ok(Vec::new());
        };
        let channels = change.channels()?;
        let Change { operation, id, data, version, .. } = change;
        let event = DataChangeEvent { operation, id, data, version };
        Ok(channels.map(|channel| self.channel(channel).publish(EVENT, &event)).into())
    }
}
