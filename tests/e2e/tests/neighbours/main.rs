//! The layer, the service and the streams beside the middleware that people use, over real sockets. Each test
//! says the order that is right; where another order is wrong, a test shows what it does. The page for users
//! is `docs/neighbours.md`.

mod browsers;
mod compression;
mod limits;
mod observers;
mod panics;
mod session_order;
mod sessions;
mod timeouts;
mod transactions;

use std::time::Duration;

use tower_revalidate::Hub;

/// Short, so that a test sees several.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// Long enough that no test sees one.
const NEVER: Duration = Duration::from_secs(600);

fn hub() -> Hub {
    e2e::stack::hub(HEARTBEAT)
}

fn quiet() -> Hub {
    e2e::stack::hub(NEVER)
}

/// Whether the neighbour is outside of the hub's layer, and a hub that beats or is silent.
fn orders() -> [(bool, Hub); 4] {
    [(true, hub()), (false, hub()), (true, quiet()), (false, quiet())]
}
