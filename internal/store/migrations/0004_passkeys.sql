-- Passkeys: what a browser's authenticator logs in with. Each is of the one
-- name by which the person came when it was made.
CREATE TABLE passkeys (
	id         TEXT PRIMARY KEY,
	name       TEXT    NOT NULL,
	rp         TEXT    NOT NULL,        -- the host's name that it is of
	credential BLOB    NOT NULL UNIQUE, -- its id
	body       BLOB    NOT NULL,        -- JSON: public key, counter, flags
	created_at INTEGER NOT NULL,
	last_used  INTEGER NOT NULL
);
