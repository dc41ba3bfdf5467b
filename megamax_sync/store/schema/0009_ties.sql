-- What sidecars tell of uploads of which the queue knows nothing, as it was lost or is an earlier
-- copy: an upload belongs to one content, whatever the account's list says of its size and name.
CREATE TABLE tie (
    hashid          TEXT    NOT NULL,
    fingerprint     TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    sidecar         BLOB    NOT NULL,           -- where that stood
    PRIMARY KEY (hashid, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE INDEX tie_by_content ON tie (size, fingerprint);
