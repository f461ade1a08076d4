-- What a person sets on a session, its trash and its origin; projects; and the
-- index of everything that was said.

ALTER TABLE sessions ADD COLUMN pinned      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN archived    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN tags        TEXT    NOT NULL DEFAULT '[]'; -- JSON
ALTER TABLE sessions ADD COLUMN project     TEXT    NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN deleted_at  INTEGER NOT NULL DEFAULT 0;    -- in the trash since
ALTER TABLE sessions ADD COLUMN forked_from TEXT    NOT NULL DEFAULT '';   -- JSON: session, item
ALTER TABLE sessions ADD COLUMN building    INTEGER NOT NULL DEFAULT 0;    -- a copy that is not whole yet

-- The filters of the list are in the index, so that what it leaves out costs
-- no look at the row.
DROP INDEX sessions_recent;
CREATE INDEX sessions_recent ON sessions (last_event, deleted_at, archived, pinned, building);
CREATE INDEX sessions_trash ON sessions (deleted_at) WHERE deleted_at <> 0;
CREATE INDEX sessions_pinned ON sessions (last_event) WHERE pinned = 1;

-- Taken back by a rewind: kept, not shown.
ALTER TABLE items ADD COLUMN rewound INTEGER NOT NULL DEFAULT 0;

CREATE TABLE projects (
	id         TEXT PRIMARY KEY,
	name       TEXT    NOT NULL,
	cwd        TEXT    NOT NULL UNIQUE,
	agent      TEXT    NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- A row's id is that of the event which made the item, or of session.created
-- for a title, so the order of rowids is the order in time. scope is the
-- session's number: with it in the index, a search in one session reads no
-- other. The text itself is not kept twice; a snippet is made from the item.
CREATE VIRTUAL TABLE search USING fts5(
	text, scope, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2'
);

-- The titles that are in the index, so that mere activity indexes nothing.
CREATE TABLE search_titles (
	sid   INTEGER PRIMARY KEY,
	title TEXT NOT NULL
);
