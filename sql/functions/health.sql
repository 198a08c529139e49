-- What the tables say of the orchestrator's health. Ages in seconds.
CREATE OR REPLACE FUNCTION app.health()
RETURNS TABLE (open_jobs bigint, oldest_queued_task_age float8, sweep_age float8,
               last_repaired int, total_repaired bigint, dead_letters bigint)
LANGUAGE sql STABLE AS $$
    SELECT (SELECT count(*) FROM app.jobs WHERE status IN ('queued', 'processing')),
           (SELECT extract(epoch FROM now() - min(oldest.scheduled_at))
              FROM app.jobs j
             CROSS JOIN LATERAL (
                   SELECT t.scheduled_at FROM app.tasks t
                    WHERE t.job_id = j.job_id AND t.stage = j.stage AND t.status = 'queued'
                      AND t.scheduled_at <= now()
                    ORDER BY t.task_index DESC LIMIT 1) oldest
             WHERE j.status = 'processing'),
           extract(epoch FROM now() - w.last_run_at),
           w.last_repaired, w.total_repaired,
           (SELECT count(*) FROM app.dead_letters)
      FROM app.sweeps w;
$$;
