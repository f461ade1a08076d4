-- A message that was said into a run that is under way has a run of its own
-- ('steering'), which begins only where it came too late. steer says how it
-- stands with that: sent, taken, read, late; '' for every other.

ALTER TABLE runs ADD COLUMN steer TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_steered ON runs (session) WHERE steer <> '';
