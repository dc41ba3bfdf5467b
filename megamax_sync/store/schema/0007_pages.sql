-- What the pages and the metrics ask for again and again, kept at hand so that a million jobs cost
-- no more than ten.

-- Since when the oldest has been waiting.
CREATE INDEX job_queued ON job (created_at) WHERE state = 'queued';
-- What was done today.
CREATE INDEX history_done ON history (at) WHERE state = 'done';
-- When direct links expire: all of one file are signed together, so the first stands for all.
CREATE INDEX job_links ON job (
    CASE WHEN json_valid(direct) THEN json_extract(direct, '$[0].expires_at') END
) WHERE state = 'done' AND direct IS NOT NULL;
