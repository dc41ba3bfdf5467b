-- Whose upload a job's hashid is. MEGAMAX_AFTER_DONE takes no video away of which only a name and a
-- size, or a sidecar, say that it was uploaded: another one may have been, and this be all there is.

-- 1: the content of this very file was sent from here, and is what the service has.
ALTER TABLE job ADD COLUMN own_upload INTEGER NOT NULL DEFAULT 0 CHECK (own_upload IN (0, 1));

-- An earlier version did not write down whether the list showed it under its name.
UPDATE job SET own_upload = 1 WHERE hashid IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM history WHERE history.job = job.id AND history.reason IN (
        'the account has it already, as ' || job.hashid,
        'its sidecar names it: ' || job.hashid,
        'found in the account as ' || job.hashid));
