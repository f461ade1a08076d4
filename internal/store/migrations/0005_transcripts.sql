-- Where an imported session was before, and a short way to the messages that
-- have files: only those attachments stay that one of them names.

ALTER TABLE sessions ADD COLUMN imported TEXT NOT NULL DEFAULT ''; -- JSON: session, created_at

CREATE INDEX items_files ON items (session) WHERE kind = 'user' AND body ->> '$.attachments' IS NOT NULL;
