-- Find what is overdue, so that its message is sent again. At most p_limit jobs and p_limit tasks.
--
-- Overdue are: a job that waits for its next stage, and a queued task whose time has come, both for
-- longer than p_grace without a message having moved them; a claimed task whose lease has expired;
-- and a cancelled job whose outputs were not discarded. Their state changes only when the message
-- is handled. Here redelivered_at is set, so that a row is not returned again within p_grace, nor
-- before others that have waited as long. Concurrent sweeps return different rows.
-- A row without task_id stands for a job message, the others for task messages.
CREATE OR REPLACE FUNCTION app.sweep(p_limit int, p_grace interval)
RETURNS TABLE (job_id text, run int, stage int, task_id text) LANGUAGE sql AS $$
    WITH late_jobs AS (
        SELECT j.job_id FROM app.jobs j
          LEFT JOIN app.stages s ON s.job_id = j.job_id AND s.stage = j.stage
         WHERE (j.status IN ('queued', 'processing') AND (j.stage = 0 OR s.open_tasks = 0)
                OR j.status = 'cancelled' AND j.discarded_at IS NULL)
           AND coalesce(j.redelivered_at, s.finished_at, j.updated_at) < now() - p_grace
         ORDER BY coalesce(j.redelivered_at, j.updated_at)
         LIMIT p_limit
           FOR NO KEY UPDATE OF j SKIP LOCKED
    ), redelivered_jobs AS (
        UPDATE app.jobs j SET redelivered_at = now() FROM late_jobs l
         WHERE j.job_id = l.job_id
        RETURNING j.job_id, j.run, j.stage + 1 AS stage, NULL::text AS task_id
    ), late_tasks AS (
        SELECT t.task_id, j.run FROM app.jobs j
          JOIN app.tasks t ON t.job_id = j.job_id AND t.stage = j.stage
         WHERE j.status = 'processing'
           AND (t.status = 'queued' AND coalesce(t.redelivered_at, t.scheduled_at) < now() - p_grace
                OR t.status = 'processing' AND t.lease_expires_at < now()
                   AND coalesce(t.redelivered_at, '-infinity') < now() - p_grace)
         ORDER BY coalesce(t.redelivered_at, t.scheduled_at)
         LIMIT p_limit
           FOR UPDATE OF t SKIP LOCKED
    ), redelivered_tasks AS (
        UPDATE app.tasks t SET redelivered_at = now() FROM late_tasks l
         WHERE t.task_id = l.task_id
        RETURNING t.job_id, l.run, t.stage, t.task_id
    ), overdue AS (
        SELECT * FROM redelivered_jobs UNION ALL SELECT * FROM redelivered_tasks
    ), noted AS (
        INSERT INTO app.events (job_id, kind, detail, correlation_id)
        SELECT o.job_id, 'repaired', jsonb_strip_nulls(jsonb_build_object(
                   'stage', o.stage, 'tasks', nullif(count(o.task_id), 0))), j.correlation_id
          FROM overdue o JOIN app.jobs j USING (job_id)
         GROUP BY o.job_id, o.stage, j.correlation_id
    ), counted AS (
        UPDATE app.sweeps w
           SET last_run_at = now(), last_repaired = o.found,
               total_repaired = w.total_repaired + o.found
          FROM (SELECT count(*) AS found FROM overdue) o
    )
    SELECT o.job_id, o.run, o.stage, o.task_id FROM overdue o;
$$;
