-- Attempts of one size that the list did not show: what may turn up late under any name.
CREATE INDEX attempt_not_listed ON attempt (size) WHERE outcome = 'failed' AND lookups > 0;
