//! [`Db`]: the SQLite of the examples that keep something.

use std::ffi::OsString;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};

use crate::Refused;

/// A database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db(Arc<Mutex<Connection>>);

impl Db {
    /// Opens this file, or a database in memory, with these tables.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open(file: Option<OsString>, schema: &str) -> rusqlite::Result<Self> {
        let connection = match file {
            Some(file) => Connection::open(file)?,
            None => Connection::open_in_memory()?,
        };
        connection.execute_batch(schema)?;
        Ok(Db(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` in a transaction: committed when this returns `Ok`, rolled back when it returns `Err`.
    ///
    /// It blocks, so that there is no `await` between the commit and the response: a client that goes away has its
    /// handler dropped at an `await`, and a `Revalidate` that is never returned is never published. With a database
    /// that is awaited, take a `hub.pledge(…)` before the commit and return that.
    ///
    /// # Errors
    /// Those of `work`, and of the commit.
    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        tokio::task::block_in_place(|| {
            let mut connection = self.0.lock();
            let transaction = connection.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }
}
