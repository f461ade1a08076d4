-- Where a device wants to be told. One for each device, which owns it.
CREATE TABLE push_subscriptions (
	id         TEXT PRIMARY KEY,
	device     TEXT    NOT NULL UNIQUE, -- of credentials
	endpoint   TEXT    NOT NULL UNIQUE,
	p256dh     TEXT    NOT NULL,
	auth       TEXT    NOT NULL,
	level      TEXT    NOT NULL, -- all, needs, none
	created_at INTEGER NOT NULL
);
CREATE TABLE push_levels (
	subscription TEXT NOT NULL,
	session      TEXT NOT NULL,
	level        TEXT NOT NULL,
	PRIMARY KEY (subscription, session)
) WITHOUT ROWID;
