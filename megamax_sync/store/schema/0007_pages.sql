-- What the pages and the metrics ask for again and again, kept at hand so that a million jobs cost
-- no more than ten.

-- Jobs and their bytes by state. The triggers keep it in the commit that changes the job.
CREATE TABLE tally (
    state           TEXT    PRIMARY KEY,
    jobs            INTEGER NOT NULL,
    bytes           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO tally (state, jobs, bytes) VALUES
    ('queued', 0, 0), ('uploading', 0, 0), ('processing', 0, 0),
    ('done', 0, 0), ('failed', 0, 0), ('skipped', 0, 0);

UPDATE tally SET (jobs, bytes) =
    (SELECT count(*), coalesce(sum(size), 0) FROM job WHERE job.state = tally.state);

CREATE TRIGGER tally_made AFTER INSERT ON job
BEGIN
    UPDATE tally SET jobs = jobs + 1, bytes = bytes + new.size WHERE state = new.state;
END;

CREATE TRIGGER tally_dropped AFTER DELETE ON job
BEGIN
    UPDATE tally SET jobs = jobs - 1, bytes = bytes - old.size WHERE state = old.state;
END;

CREATE TRIGGER tally_moved AFTER UPDATE OF state, size ON job
WHEN old.state <> new.state OR old.size <> new.size
BEGIN
    UPDATE tally SET jobs = jobs - 1, bytes = bytes - old.size WHERE state = old.state;
    UPDATE tally SET jobs = jobs + 1, bytes = bytes + new.size WHERE state = new.state;
END;

-- Since when the oldest has been waiting.
CREATE INDEX job_queued ON job (created_at) WHERE state = 'queued';
-- What was done today.
CREATE INDEX history_done ON history (at) WHERE state = 'done';
-- When direct links expire: all of one file are signed together, so the first stands for all.
CREATE INDEX job_links ON job (
    CASE WHEN json_valid(direct) THEN json_extract(direct, '$[0].expires_at') END
) WHERE state = 'done' AND direct IS NOT NULL;
