-- What makes the queue as quick with a million jobs as with a thousand.

-- The jobs and their bytes, counted up and down by every statement that changes them: to count them
-- anew takes as long as there are jobs, and is asked for all the time.
CREATE TABLE tally (
    root            BLOB    NOT NULL,           -- the watched folder; empty when handed in
    state           TEXT    NOT NULL,
    ready           INTEGER NOT NULL,
    jobs            INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    PRIMARY KEY (root, state, ready)
) STRICT, WITHOUT ROWID;

INSERT INTO tally
    SELECT coalesce(root, x''), state, ready, count(*), sum(size) FROM job GROUP BY 1, 2, 3;

CREATE TRIGGER job_counted AFTER INSERT ON job BEGIN
    INSERT INTO tally VALUES (coalesce(NEW.root, x''), NEW.state, NEW.ready, 1, NEW.size)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER job_uncounted AFTER DELETE ON job BEGIN
    UPDATE tally SET jobs = jobs - 1, bytes = bytes - OLD.size
        WHERE root = coalesce(OLD.root, x'') AND state = OLD.state AND ready = OLD.ready;
END;

CREATE TRIGGER job_recounted AFTER UPDATE OF root, state, ready, size ON job
    WHEN (OLD.root, OLD.state, OLD.ready, OLD.size)
        IS NOT (NEW.root, NEW.state, NEW.ready, NEW.size)
BEGIN
    UPDATE tally SET jobs = jobs - 1, bytes = bytes - OLD.size
        WHERE root = coalesce(OLD.root, x'') AND state = OLD.state AND ready = OLD.ready;
    INSERT INTO tally VALUES (coalesce(NEW.root, x''), NEW.state, NEW.ready, 1, NEW.size)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1, bytes = bytes + excluded.bytes;
END;

-- When the next job is due.
CREATE INDEX job_due ON job (ready, next_attempt_at) WHERE state = 'queued';

-- When the tracker looks next, in each state by itself.
DROP INDEX job_to_check;
CREATE INDEX job_to_check ON job (state, check_at) WHERE check_at IS NOT NULL;
