-- Titles have a word in the index that says what they are.

DELETE FROM search WHERE rowid IN (SELECT sid FROM search_titles);
INSERT INTO search (rowid, text, scope) SELECT sid, title, 's' || sid || ' title' FROM search_titles WHERE title <> '';
