-- What is needed once something was lost: the queue, sidecars, or what a person uploaded by hand.

-- The account's list is to be asked before this job is sent: it may have been uploaded before.
ALTER TABLE job ADD COLUMN lookup INTEGER NOT NULL DEFAULT 0 CHECK (lookup IN (0, 1));
-- By which a sidecar that nobody has touched is known without reading it; NULL for "read it".
ALTER TABLE job ADD COLUMN sidecar_mark INTEGER;

-- For telling whether a listed file could be several files of ours.
CREATE INDEX job_unsent ON job (size, match_key) WHERE hashid IS NULL;

-- A queue that was at work before there was this mark is no new one.
INSERT INTO setting (name, value) SELECT 'born', '0' WHERE EXISTS (SELECT 1 FROM job);
