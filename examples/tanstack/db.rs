//! [`Db`]: posts and stars, in SQLite.

use std::ffi::OsString;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::refused::Refused;

const SCHEMA: &str = "
    PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS posts (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        title  TEXT NOT NULL,
        body   TEXT NOT NULL DEFAULT '',
        author TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS stars (
        user TEXT NOT NULL,
        post INTEGER NOT NULL REFERENCES posts ON DELETE CASCADE,
        PRIMARY KEY (user, post)
    ) WITHOUT ROWID;
";

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Db(Arc<Mutex<Connection>>);

/// A line of the list.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    id: i64,
    title: String,
    author: String,
}

/// A post.
#[derive(Debug, Serialize)]
pub(crate) struct Post {
    id: i64,
    title: String,
    body: String,
    author: String,
}

/// What a post is made of, or changed to.
#[derive(Debug, Deserialize)]
pub(crate) struct Draft {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) body: String,
}

impl Db {
    /// Opens this file, or a database in memory.
    pub(crate) fn open(file: Option<OsString>) -> rusqlite::Result<Self> {
        let connection = match file {
            Some(file) => Connection::open(file)?,
            None => Connection::open_in_memory()?,
        };
        connection.execute_batch(SCHEMA)?;
        Ok(Db(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` in a transaction: committed when this returns `Ok`, rolled back when it returns `Err`.
    ///
    /// It blocks, so that there is no `await` between the commit and the response: a client that goes away has its
    /// handler dropped at an `await`, and a `Revalidate` that is never returned is never published. With a database
    /// that is awaited, take a `hub.pledge(…)` before the commit and return that.
    pub(crate) fn transaction<T>(
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

/// The oldest first.
pub(crate) fn list(db: &Transaction<'_>) -> Result<Vec<Summary>, Refused> {
    let mut query = db.prepare("SELECT id, title, author FROM posts ORDER BY id")?;
    let rows = query.query_map([], |row| {
        Ok(Summary { id: row.get("id")?, title: row.get("title")?, author: row.get("author")? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn get(db: &Transaction<'_>, id: i64) -> Result<Post, Refused> {
    Ok(db.query_row("SELECT * FROM posts WHERE id = ?", [id], post)?)
}

pub(crate) fn create(db: &Transaction<'_>, draft: &Draft, author: &str) -> Result<Post, Refused> {
    let values = params![draft.title, draft.body, author];
    Ok(db.query_row("INSERT INTO posts (title, body, author) VALUES (?, ?, ?) RETURNING *", values, post)?)
}

pub(crate) fn update(db: &Transaction<'_>, id: i64, draft: &Draft) -> Result<Post, Refused> {
    let values = params![draft.title, draft.body, id];
    Ok(db.query_row("UPDATE posts SET title = ?, body = ? WHERE id = ? RETURNING *", values, post)?)
}

/// Stars go with their post.
pub(crate) fn delete(db: &Transaction<'_>, id: i64) -> Result<Post, Refused> {
    Ok(db.query_row("DELETE FROM posts WHERE id = ? RETURNING *", [id], post)?)
}

/// The posts that this user has starred.
pub(crate) fn stars(db: &Transaction<'_>, user: &str) -> Result<Vec<i64>, Refused> {
    let mut query = db.prepare("SELECT post FROM stars WHERE user = ? ORDER BY post")?;
    let rows = query.query_map([user], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn star(db: &Transaction<'_>, user: &str, post: i64) -> Result<(), Refused> {
    get(db, post)?;
    db.execute("INSERT OR IGNORE INTO stars (user, post) VALUES (?, ?)", params![user, post])?;
    Ok(())
}

pub(crate) fn unstar(db: &Transaction<'_>, user: &str, post: i64) -> Result<(), Refused> {
    db.execute("DELETE FROM stars WHERE user = ? AND post = ?", params![user, post])?;
    Ok(())
}

fn post(row: &Row<'_>) -> rusqlite::Result<Post> {
    Ok(Post {
        id: row.get("id")?,
        title: row.get("title")?,
        body: row.get("body")?,
        author: row.get("author")?,
    })
}
