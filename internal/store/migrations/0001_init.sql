-- The log, its projections, and what the host must not forget.
-- Times are milliseconds since 1970, UTC; 0 is "not yet".

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

-- A session's number (sid) is the id of its first event. The index is by it and
-- not by the name because a delta's cost is the pages that it changes: with the
-- long key they split three times as often.
CREATE TABLE events (
	id      INTEGER PRIMARY KEY, -- assigned by the writer, in commit order
	sid     INTEGER NOT NULL,
	session TEXT    NOT NULL,
	seq     INTEGER NOT NULL,
	run     TEXT    NOT NULL,
	at      INTEGER NOT NULL,
	kind    TEXT    NOT NULL,
	item    INTEGER NOT NULL,    -- seq of the item that it is about, or 0
	body    TEXT    NOT NULL
);
CREATE UNIQUE INDEX events_by_seq ON events (sid, seq);

-- While an item is open its body is that of the event which made it, and a
-- reader folds the later ones; its close writes the whole.
CREATE TABLE items (
	id      TEXT PRIMARY KEY,
	session TEXT    NOT NULL,
	run     TEXT    NOT NULL,
	kind    TEXT    NOT NULL,
	seq     INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	open    INTEGER NOT NULL,
	body    TEXT    NOT NULL
);
CREATE INDEX items_by_seq ON items (session, seq);
CREATE INDEX items_open ON items (session, seq) WHERE open = 1;

-- seq, last_at and last_event lag behind the log by up to a second while a
-- session streams; the writer never trusts them.
CREATE TABLE sessions (
	id            TEXT PRIMARY KEY,
	sid           INTEGER NOT NULL,
	client_id     TEXT UNIQUE,
	title         TEXT    NOT NULL,
	title_set     INTEGER NOT NULL,
	agent         TEXT    NOT NULL,
	cwd           TEXT    NOT NULL,
	state         TEXT    NOT NULL,
	waiting       INTEGER NOT NULL,
	queue         TEXT    NOT NULL, -- JSON: the runs that wait
	paused        INTEGER NOT NULL,
	run           TEXT    NOT NULL,
	agent_state   TEXT    NOT NULL,
	reason        TEXT    NOT NULL,
	created_at    INTEGER NOT NULL,
	last_at       INTEGER NOT NULL,
	last_event    INTEGER NOT NULL,
	seq           INTEGER NOT NULL,
	version       INTEGER NOT NULL,
	agent_session TEXT    NOT NULL
);
CREATE INDEX sessions_recent ON sessions (last_event);

-- Apart from sessions because what an agent offers is many kilobytes, and the
-- list row is written every second.
CREATE TABLE session_options (
	session TEXT PRIMARY KEY,
	body    TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE approvals (
	id          TEXT PRIMARY KEY,
	session     TEXT    NOT NULL,
	run         TEXT    NOT NULL,
	state       TEXT    NOT NULL,
	title       TEXT    NOT NULL,
	item        TEXT    NOT NULL,
	at          INTEGER NOT NULL,
	detail      TEXT,
	options     TEXT    NOT NULL,
	chosen      TEXT    NOT NULL,
	by          TEXT    NOT NULL,
	client_id   TEXT    NOT NULL,
	answered_at INTEGER NOT NULL,
	reason      TEXT    NOT NULL,
	expires_at  INTEGER NOT NULL,
	epoch       TEXT    NOT NULL,
	raw_id      BLOB
);
CREATE INDEX approvals_by_session ON approvals (session, at);
CREATE INDEX approvals_pending ON approvals (at) WHERE state = 'pending';

CREATE TABLE messages (
	session   TEXT    NOT NULL,
	client_id TEXT    NOT NULL,
	item      TEXT    NOT NULL,
	run       TEXT    NOT NULL,
	seq       INTEGER NOT NULL,
	text_hash TEXT    NOT NULL,
	PRIMARY KEY (session, client_id)
) WITHOUT ROWID;

CREATE TABLE runs (
	id         TEXT PRIMARY KEY,
	session    TEXT    NOT NULL,
	item       TEXT    NOT NULL,
	text       TEXT    NOT NULL,
	state      TEXT    NOT NULL,
	reason     TEXT    NOT NULL,
	detail     TEXT    NOT NULL,
	pos        INTEGER NOT NULL,
	epoch      TEXT    NOT NULL,
	prompt     INTEGER NOT NULL,
	cancelling INTEGER NOT NULL,
	queued_at  INTEGER NOT NULL,
	started_at INTEGER NOT NULL,
	ended_at   INTEGER NOT NULL
);
CREATE INDEX runs_by_session ON runs (session, pos);
CREATE INDEX runs_live ON runs (session, state, pos) WHERE state <> 'ended';

CREATE TABLE epochs (
	name       TEXT PRIMARY KEY,
	session    TEXT    NOT NULL,
	agent      TEXT    NOT NULL,
	boot_id    TEXT    NOT NULL,
	state      TEXT    NOT NULL,
	replaying  INTEGER NOT NULL,
	started_at INTEGER NOT NULL,
	ended_at   INTEGER NOT NULL,
	reason     TEXT    NOT NULL,
	info       TEXT
);
CREATE INDEX epochs_by_session ON epochs (session);
CREATE INDEX epochs_live ON epochs (session) WHERE state <> 'ended';

-- Apart from epochs because it is written with every batch of events: one
-- page, whatever the number of agents.
CREATE TABLE offsets (
	epoch INTEGER PRIMARY KEY, -- rowid of the epoch
	n     INTEGER NOT NULL
);

CREATE TABLE lines (
	epoch    TEXT    NOT NULL,
	n        INTEGER NOT NULL,
	kind     TEXT    NOT NULL,
	run      TEXT    NOT NULL,
	approval TEXT    NOT NULL,
	sum      INTEGER NOT NULL,
	void     INTEGER NOT NULL,
	answered INTEGER NOT NULL,
	data     BLOB    NOT NULL
);
CREATE UNIQUE INDEX lines_by_n ON lines (epoch, n);

CREATE TABLE blobs (
	id      TEXT PRIMARY KEY,
	session TEXT NOT NULL,
	data    BLOB NOT NULL
);
CREATE INDEX blobs_by_session ON blobs (session);

CREATE TABLE attachments (
	id         TEXT PRIMARY KEY,
	name       TEXT    NOT NULL,
	mime       TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	data       BLOB    NOT NULL
);

-- Sessions whose rows are gone and whose bulk is being removed in small steps.
CREATE TABLE deletions (
	session TEXT PRIMARY KEY,
	sid     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE credentials (
	id         TEXT PRIMARY KEY,
	kind       TEXT    NOT NULL,
	name       TEXT    NOT NULL,
	hash       BLOB    NOT NULL,
	created_at INTEGER NOT NULL,
	last_used  INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	user_agent TEXT    NOT NULL
);
CREATE UNIQUE INDEX credentials_by_hash ON credentials (kind, hash);

CREATE TABLE settings (
	key   TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;
