-- The list is in the order of what happened in its sessions: what a person sets
-- of one, and what the host says of its agent, moves it no more. counted is the
-- last event that activity knows of: a row of an older host says another one,
-- and is counted anew at the next start.

ALTER TABLE sessions ADD COLUMN activity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN counted  INTEGER NOT NULL DEFAULT 0;

UPDATE sessions SET counted = last_event, activity = last.id, last_at = last.at
	FROM (
		SELECT s.id AS session, e.id, e.at FROM sessions s JOIN events e ON e.id = (
			SELECT id FROM events WHERE sid = s.sid AND kind IN (
				'session.created', 'message.user', 'message.edited', 'text.delta', 'thought.delta', 'tool.started', 'tool.updated', 'plan',
				'item.closed', 'item.copied', 'transcript.rewound', 'approval.requested', 'approval.resolved', 'run.queued', 'run.started',
				'run.ended', 'notice')
			ORDER BY seq DESC LIMIT 1)
	) AS last WHERE sessions.id = last.session;

DROP INDEX sessions_recent;
DROP INDEX sessions_pinned;
CREATE INDEX sessions_recent ON sessions (activity, deleted_at, archived, pinned, building);
CREATE INDEX sessions_pinned ON sessions (activity) WHERE pinned = 1;
CREATE INDEX sessions_uncounted ON sessions (id) WHERE counted <> last_event;
