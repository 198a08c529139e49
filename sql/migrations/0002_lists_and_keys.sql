-- Pages of jobs, newest first: of all, of some statuses, of one type.
CREATE INDEX jobs_by_age ON app.jobs (created_at, job_id);
CREATE INDEX jobs_by_status ON app.jobs (status, created_at, job_id);
CREATE INDEX jobs_by_type ON app.jobs (job_type, created_at, job_id);
DROP INDEX app.jobs_newest;

-- Which job a caller's Idempotency-Key stands for. A key goes when its job is purged. The key is
-- written before its job, so that of two requests with one key the second waits for the first.
CREATE TABLE app.request_keys (
    key         text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint text NOT NULL,
    job_id      text NOT NULL REFERENCES app.jobs ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX request_keys_of_job ON app.request_keys (job_id);
