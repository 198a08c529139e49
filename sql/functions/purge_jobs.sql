-- Delete jobs that ended longer ago than p_age, with all their rows. Bounded per call.
--
-- A cancelled job stays until its outputs are discarded. What a deleted job wrote and no item
-- references is superseded, for no one can retry the job any more. Returns the deleted ids.
CREATE OR REPLACE FUNCTION app.purge_jobs(p_age interval, p_limit int)
RETURNS SETOF text LANGUAGE sql AS $$
    WITH deleted AS (
        DELETE FROM app.jobs j USING (
            SELECT job_id FROM app.jobs
             WHERE finished_at < now() - p_age
               AND (status <> 'cancelled' OR discarded_at IS NOT NULL)
             ORDER BY finished_at
             LIMIT p_limit
               FOR UPDATE SKIP LOCKED) old
         WHERE j.job_id = old.job_id
        RETURNING j.job_id
    ), unused AS (
        UPDATE app.outputs o SET superseded_at = now() FROM deleted d
         WHERE o.job_id = d.job_id AND o.item_id IS NULL
           AND o.superseded_at IS NULL AND o.removed_at IS NULL
    )
    SELECT d.job_id FROM deleted d;
$$;
