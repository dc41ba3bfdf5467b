-- The queue, version 1. Times are Unix time in seconds (REAL), paths are the file system's bytes.

CREATE TABLE job (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    path            BLOB    NOT NULL,
    root            BLOB,                       -- the watched folder; NULL when handed in
    state           TEXT    NOT NULL CHECK (state IN
                        ('queued', 'uploading', 'processing', 'done', 'failed', 'skipped')),
    ready           INTEGER NOT NULL CHECK (ready IN (0, 1)),  -- the watch found the file finished

    size            INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns        INTEGER NOT NULL,
    ctime_ns        INTEGER NOT NULL,
    dev             INTEGER NOT NULL,
    ino             INTEGER NOT NULL,
    match_key       TEXT    NOT NULL,           -- job.match_key of the name, for reconciling
    fingerprint     TEXT,
    folder          INTEGER,

    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    suspect_at      REAL,                       -- the last answer that may be the file's fault
    next_attempt_at REAL    NOT NULL DEFAULT 0,
    failed_at       REAL    NOT NULL DEFAULT 0, -- the last failure: behind all that have had none
    owner           TEXT,                       -- the instance that is sending it …
    lease_until     REAL,                       -- … and until when it may be believed
    error           TEXT,

    hashid          TEXT,
    remote_status   TEXT,
    remote_name     TEXT,
    remote_size     INTEGER,
    poster          TEXT,
    uploaded_at     REAL,
    converted_at    REAL,
    mirrors         TEXT,
    direct          TEXT,
    direct_error    TEXT,
    check_at        REAL,                       -- the tracker's next look; NULL for never
    checks          INTEGER NOT NULL DEFAULT 0,

    sidecar         BLOB,
    sidecar_due     INTEGER NOT NULL DEFAULT 0 CHECK (sidecar_due IN (0, 1)),

    created_at      REAL    NOT NULL,
    updated_at      REAL    NOT NULL,

    CHECK (state NOT IN ('processing', 'done') OR hashid IS NOT NULL),
    CHECK (state NOT IN ('failed', 'skipped') OR error IS NOT NULL),
    CHECK ((state = 'uploading') = (owner IS NOT NULL)),
    CHECK ((state = 'uploading') = (lease_until IS NOT NULL))
) STRICT;

CREATE INDEX job_by_path ON job (path, id);
CREATE INDEX job_by_hashid ON job (hashid) WHERE hashid IS NOT NULL;
CREATE INDEX job_by_change ON job (updated_at);
CREATE INDEX job_by_state ON job (state, updated_at);
CREATE INDEX job_to_claim ON job (failed_at, id) WHERE state = 'queued' AND ready = 1;
CREATE INDEX job_to_settle ON job (id) WHERE state = 'queued' AND ready = 0;
CREATE INDEX job_to_check ON job (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX job_to_write ON job (id) WHERE sidecar_due = 1;

-- The journal: one row for each time that we set out to send a file. Written before the upload URL
-- is asked for. While outcome is NULL the attempt is open, or it was cut off and nobody knows.
CREATE TABLE attempt (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    job             INTEGER REFERENCES job (id) ON DELETE SET NULL,
    path            BLOB    NOT NULL,
    size            INTEGER NOT NULL,
    mtime_ns        INTEGER NOT NULL,           -- with the size and inode: which version it sent
    ino             INTEGER NOT NULL,
    match_key       TEXT    NOT NULL,
    fingerprint     TEXT,
    folder          INTEGER,
    step            TEXT    NOT NULL CHECK (step IN ('begun', 'sending', 'sent')),
    outcome         TEXT    CHECK (outcome IN ('arrived', 'failed', 'discarded')),
    hashid          TEXT,
    error           TEXT,
    begun_at        REAL    NOT NULL,
    service_time    REAL,                       -- the service's own clock before the first byte
    unknown_at      REAL,                       -- since when nobody knows
    lookups         INTEGER NOT NULL DEFAULT 0, -- how often the account's list did not show it
    ended_at        REAL,

    CHECK (outcome IS NOT 'arrived' OR hashid IS NOT NULL)
) STRICT;

CREATE INDEX attempt_by_job ON attempt (job, id);
CREATE INDEX attempt_by_hashid ON attempt (hashid) WHERE hashid IS NOT NULL;
CREATE INDEX attempt_open ON attempt (size, match_key) WHERE outcome IS NULL;
CREATE INDEX attempt_arrived ON attempt (ended_at) WHERE outcome = 'arrived';
CREATE INDEX attempt_orphan ON attempt (id) WHERE outcome = 'discarded';

-- Every transition with its time and reason.
CREATE TABLE history (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    job             INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    at              REAL    NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL
) STRICT;

CREATE INDEX history_by_job ON history (job, id);

-- Files whose job a person dropped: not to be found again unless they change.
CREATE TABLE forgotten (
    path            BLOB    PRIMARY KEY,
    size            INTEGER NOT NULL,
    mtime_ns        INTEGER NOT NULL,
    ctime_ns        INTEGER NOT NULL,
    dev             INTEGER NOT NULL,
    ino             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What people set while it runs (paused), and what has to outlast a restart.
CREATE TABLE setting (
    name            TEXT    PRIMARY KEY,
    value           TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
