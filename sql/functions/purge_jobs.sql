-- Delete jobs that ended longer ago than p_age, with all their rows. Bounded per call.
--
-- A cancelled job stays until its leavings are discarded. Returns the ids of the deleted jobs.
CREATE OR REPLACE FUNCTION app.purge_jobs(p_age interval, p_limit int)
RETURNS SETOF text LANGUAGE sql AS $$
    DELETE FROM app.jobs j USING (
        SELECT job_id FROM app.jobs
         WHERE finished_at < now() - p_age
           AND (status <> 'cancelled' OR discarded_at IS NOT NULL)
         ORDER BY finished_at
         LIMIT p_limit
           FOR UPDATE SKIP LOCKED) old
     WHERE j.job_id = old.job_id
    RETURNING j.job_id;
$$;
