//! Posts and stars, in SQLite.

use std::ffi::OsString;

use examples_common::{Db, Refused};
use rusqlite::{Row, Transaction, params};
use serde::{Deserialize, Serialize};

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

/// Opens this file, or a database in memory.
pub(crate) fn open(file: Option<OsString>) -> rusqlite::Result<Db> {
    Db::open(file, SCHEMA)
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
