//! What the app starts with: its tables, the crew and their rooms, and, so that there is something to see, what they
//! said before.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use examples_common::{Db, Refused};
use rusqlite::{Transaction, params};

const SCHEMA: &str = "
    PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS roles (
        user TEXT NOT NULL REFERENCES users,
        role TEXT NOT NULL,
        PRIMARY KEY (user, role)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sessions (token TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rooms (
        id    INTEGER PRIMARY KEY AUTOINCREMENT,
        name  TEXT NOT NULL,
        topic TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS members (
        room INTEGER NOT NULL REFERENCES rooms,
        user TEXT NOT NULL REFERENCES users,
        PRIMARY KEY (room, user)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS messages (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        room       INTEGER NOT NULL REFERENCES rooms,
        sender     TEXT NOT NULL REFERENCES users,
        content    TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        key        TEXT,
        UNIQUE (room, sender, key)
    );
    CREATE INDEX IF NOT EXISTS history ON messages (room, id);
    CREATE INDEX IF NOT EXISTS hour ON messages (created_at);
    CREATE TABLE IF NOT EXISTS receipts (
        message INTEGER NOT NULL REFERENCES messages,
        user    TEXT NOT NULL REFERENCES users,
        read_at INTEGER NOT NULL,
        PRIMARY KEY (message, user)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS reports (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        message    INTEGER NOT NULL REFERENCES messages,
        reporter   TEXT NOT NULL REFERENCES users,
        created_at INTEGER NOT NULL,
        UNIQUE (message, reporter)
    );
    CREATE TABLE IF NOT EXISTS notifications (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        user       TEXT NOT NULL REFERENCES users,
        type       TEXT NOT NULL,
        title      TEXT NOT NULL,
        body       TEXT NOT NULL,
        data       TEXT NOT NULL,
        read       BOOLEAN NOT NULL DEFAULT FALSE,
        created_at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS unread ON notifications (user, read, id);
    CREATE TABLE IF NOT EXISTS documents (
        room       INTEGER PRIMARY KEY REFERENCES rooms,
        version    INTEGER NOT NULL,
        text       TEXT NOT NULL,
        updated_by TEXT REFERENCES users,
        updated_at INTEGER
    );
";

const CREW: &str = "
    INSERT OR IGNORE INTO users VALUES ('alice', 'Alice'), ('bob', 'Bob'), ('carol', 'Carol'), ('dave', 'Dave');
    INSERT OR IGNORE INTO roles VALUES ('alice', 'admin'), ('alice', 'moderator'), ('bob', 'moderator');
    INSERT OR IGNORE INTO rooms VALUES
        (1, 'Bridge', 'Course, weather, and who has the watch'),
        (2, 'Galley', 'What there is to eat, and who washes up'),
        (3, 'Engine room', 'Noises, and where they come from');
    INSERT OR IGNORE INTO members VALUES
        (1, 'alice'), (1, 'bob'), (1, 'carol'),
        (2, 'alice'), (2, 'bob'), (2, 'carol'), (2, 'dave'),
        (3, 'alice'), (3, 'carol'), (3, 'dave');
";

/// A room, how many minutes ago, who, and what.
const STORY: &[(i64, i64, &str, &str)] = &[
    (2, 190, "dave", "Bread is out of the oven. The first four loaves are for the watch below."),
    (2, 188, "bob", "And the fifth?"),
    (2, 187, "dave", "There was no fifth."),
    (2, 64, "carol", "Who took the good coffee to the bridge?"),
    (2, 63, "alice", "The captain requires it for navigation."),
    (2, 21, "dave", "Dinner at seven: lentils, lemon, and the last of the parsley."),
    (3, 240, "carol", "There is a knock on the starboard side, about twice a minute."),
    (3, 236, "dave", "That was me. I was fixing the knock."),
    (3, 75, "carol", "Oil pressure is steady again. I wrote down what I changed, it is in the log."),
    (3, 34, "alice", "Thank you both. Can we hold eight knots until dark?"),
    (3, 31, "carol", "Eight is fine. Nine is a conversation."),
    (1, 58, "carol", "Barometer has dropped four points since breakfast."),
    (1, 55, "alice", "Seen. We keep to the north of the bank, and reef before it is dark."),
    (1, 41, "bob", "Ferry on the port bow, three miles, crossing ahead of us."),
    (1, 40, "bob", "She has seen us. Altering behind her."),
    (
        1,
        17,
        "alice",
        "New watch bill is up, see the log of this room. Change it there if it does not suit you.",
    ),
    (1, 12, "carol", "I would rather have the dawn watch. Dawn is the good one."),
    (1, 6, "bob", "Gladly. Dawn is all yours."),
];

const WATCH_BILL: &str = "WATCH BILL

20:00  Bob
00:00  Alice
04:00  Carol
08:00  Dave

Wind backs before midnight?
Wake the captain. She says so
every time, and means it.
";

/// Opens this file, or a database in memory, with the crew in it.
pub(crate) fn open(file: Option<OsString>) -> rusqlite::Result<Db> {
    Db::open(file, &[SCHEMA, CREW].concat())
}

/// What was said before, if nothing was.
pub(crate) fn tell_a_story(db: &Transaction<'_>) -> Result<(), Refused> {
    if db.query_row("SELECT EXISTS (SELECT 1 FROM messages)", [], |row| row.get(0))? {
        return Ok(());
    }
    let now = now();
    let mut said =
        db.prepare("INSERT INTO messages (room, sender, content, created_at) VALUES (?, ?, ?, ?)")?;
    // The log of the bridge, each half an hour: a history to scroll through.
    for ago in (2..130_i64).rev() {
        let (course, wind, air) = (210 + ago * 7 % 19, 3 + ago * 5 % 4, 1004 + ago % 11);
        let officer = ["alice", "bob", "carol"][usize::try_from(ago / 8 % 3).unwrap_or_default()];
        let line = format!("Course {course}°, wind SW {wind}, barometer {air}.");
        said.execute(params![1, officer, line, now - ago * 30 * 60_000])?;
    }
    for (room, ago, sender, text) in STORY {
        said.execute(params![room, sender, text, now - ago * 60_000])?;
    }
    // All but the last hour was read.
    db.execute(
        "INSERT INTO receipts (message, user, read_at)
         SELECT id, user, created_at + 60000 FROM messages JOIN members USING (room)
         WHERE user <> sender AND created_at < ?",
        [now - 30 * 60_000],
    )?;
    let bill = "INSERT OR IGNORE INTO documents VALUES (1, 1, ?, 'alice', ?)";
    db.execute(bill, params![WATCH_BILL, now - 17 * 60_000])?;
    Ok(())
}

pub(crate) fn display_name(db: &Transaction<'_>, user: &str) -> Result<String, Refused> {
    Ok(db.query_row("SELECT name FROM users WHERE id = ?", [user], |row| row.get(0))?)
}

/// In ms since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
