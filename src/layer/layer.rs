use tower::Layer;

use super::Revalidated;
use crate::Hub;

/// Takes [`Revalidate`](crate::Revalidate) from responses and publishes it; of [`Hub::layer`]. See the
/// [module docs](super).
#[derive(Debug, Clone)]
pub struct RevalidateLayer {
    hub: Hub,
}

impl RevalidateLayer {
    pub(crate) fn new(hub: Hub) -> Self {
        RevalidateLayer { hub }
    }
}

impl<S> Layer<S> for RevalidateLayer {
    type Service = Revalidated<S>;
    fn layer(&self, inner: S) -> Revalidated<S> {
        Revalidated { inner, hub: self.hub.clone() }
    }
}
