-- What is still to be done, or told, about jobs that have ended and about problems.

-- Who wants to know of what: the channels of the instance that works on this queue.
CREATE TABLE listener (
    channel         TEXT    NOT NULL,
    event           TEXT    NOT NULL CHECK (event IN ('done', 'failed', 'problem', 'recovery')),
    PRIMARY KEY (channel, event)
) STRICT, WITHOUT ROWID;

-- One row for each event and channel, until it has been delivered. What it says is as it was then:
-- the job may be retried or dropped before anybody is told.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    mark            TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16)))),  -- unlike any other
    channel         TEXT    NOT NULL,
    event           TEXT    NOT NULL CHECK (event IN ('done', 'failed', 'problem', 'recovery')),
    at              REAL    NOT NULL,
    job             INTEGER,
    path            BLOB,
    hashid          TEXT,
    sidecar         BLOB,
    error           TEXT,
    problem         TEXT,                       -- the word of daemon.problem

    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_at          REAL    NOT NULL DEFAULT 0,
    target          BLOB,                       -- where a video is being moved to

    CHECK ((job IS NULL) = (event IN ('problem', 'recovery'))),
    CHECK ((job IS NULL) = (path IS NULL))
) STRICT;

CREATE INDEX outbox_by_channel ON outbox (channel, due_at, id);
CREATE INDEX outbox_by_job ON outbox (job) WHERE job IS NOT NULL;

-- Where jobs were whose videos MEGAMAX_AFTER_DONE has moved: they are still asked for there.
CREATE TABLE put_away (
    job             INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    path            BLOB    NOT NULL
) STRICT;

CREATE INDEX put_away_by_path ON put_away (path);

-- A trigger, so that no statement that ends a job can forget it: the row is there exactly if the
-- job has ended. A queue that is built anew inserts its jobs as they are, which tells nobody.
CREATE TRIGGER outbox_of_job AFTER UPDATE OF state ON job
WHEN NEW.state IN ('done', 'failed') AND OLD.state <> NEW.state
BEGIN
    INSERT INTO outbox (channel, event, at, job, path, hashid, sidecar, error)
    SELECT channel, event, NEW.updated_at, NEW.id, NEW.path, NEW.hashid, NEW.sidecar, NEW.error
    FROM listener WHERE event = NEW.state;
END;
