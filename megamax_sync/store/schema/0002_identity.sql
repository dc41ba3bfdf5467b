-- Identity: which jobs have the same content, and where a file that was moved lay before.

-- 1: may be sent, as no other job is known that has, or may have, its content.
ALTER TABLE job ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0 CHECK (cleared IN (0, 1));
-- The job that has the same content: waited for while queued, a duplicate of it once skipped.
ALTER TABLE job ADD COLUMN original INTEGER REFERENCES job (id) ON DELETE SET NULL;
-- Of the jobs of one path the newest has the highest: its id, or a later number once it was moved.
ALTER TABLE job ADD COLUMN placed INTEGER NOT NULL DEFAULT 0;
-- Where the file lay when its sidecar was last written, if it has been moved since.
ALTER TABLE job ADD COLUMN moved_from BLOB;

UPDATE job SET placed = id, cleared = (state <> 'queued');

DROP INDEX job_by_path;
CREATE INDEX job_by_path ON job (path, placed);
CREATE INDEX job_by_size ON job (size, state);
CREATE INDEX job_by_inode ON job (ino, size, mtime_ns);
CREATE INDEX job_by_original ON job (original) WHERE original IS NOT NULL;
CREATE INDEX job_to_wait ON job (original) WHERE original IS NOT NULL AND state = 'queued';
CREATE INDEX job_by_content ON job (fingerprint, state)
    WHERE fingerprint IS NOT NULL AND NOT (state = 'queued' AND cleared = 0);
CREATE INDEX job_unread ON job (size)
    WHERE fingerprint IS NULL AND NOT (state = 'queued' AND cleared = 0);
CREATE INDEX job_to_compare ON job (failed_at, id)
    WHERE state = 'queued' AND ready = 1 AND cleared = 0 AND original IS NULL;
CREATE INDEX job_to_send ON job (failed_at, id)
    WHERE state = 'queued' AND ready = 1 AND cleared = 1;
CREATE INDEX forgotten_by_inode ON forgotten (ino);

-- Those who wait for a job are compared anew when it ends, when its content is another one, when
-- it is not known to be finished any more, and when it lies elsewhere. As triggers, so that no
-- statement that changes a job can leave somebody waiting for nothing.
CREATE TRIGGER job_compare_again AFTER UPDATE OF state, ready, cleared, fingerprint, path ON job
WHEN (new.state <> old.state AND new.state IN ('failed', 'skipped', 'done'))
    OR new.ready < old.ready OR new.cleared < old.cleared
    OR new.fingerprint IS NOT old.fingerprint OR new.path IS NOT old.path
BEGIN
    UPDATE job SET original = NULL, hashid = NULL, sidecar_due = 0
        WHERE original = new.id AND state = 'queued';
END;

-- What a sidecar shows, those of the duplicates show, too.
CREATE TRIGGER job_duplicates_due AFTER UPDATE OF sidecar_due ON job
WHEN new.sidecar_due = 1 AND new.hashid IS NOT NULL
BEGIN
    UPDATE job SET sidecar_due = 1, updated_at = new.updated_at
        WHERE original = new.id AND state = 'skipped';
END;
