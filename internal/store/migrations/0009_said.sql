-- Which sentence of the host a run's detail is, and what is in it, as JSON, and
-- which one an approval's reason is: by that a page says it in its own language.
-- '' where it is none.

ALTER TABLE runs ADD COLUMN said TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN code TEXT NOT NULL DEFAULT '';
