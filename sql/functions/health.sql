-- The state of the orchestrator for the health check. Ages are in seconds.
CREATE OR REPLACE FUNCTION app.health()
RETURNS TABLE (open_jobs bigint, oldest_queued_task_age float8, sweep_age float8,
               last_repaired int, total_repaired bigint, dead_letters bigint)
LANGUAGE sql STABLE AS $$
    SELECT (SELECT count(*) FROM app.jobs WHERE status IN ('queued', 'processing')),
           -- Only the open stages are read, by the index tasks_of_stage: an index on scheduled_at
           -- and status would keep every claim and completion from being a HOT update.
           (SELECT extract(epoch FROM now() - min(t.scheduled_at))
              FROM app.jobs j
              JOIN app.stages s ON s.job_id = j.job_id AND s.stage = j.stage AND s.open_tasks > 0
              JOIN app.tasks t ON t.job_id = s.job_id AND t.stage = s.stage
             WHERE j.status = 'processing' AND t.status = 'queued' AND t.scheduled_at <= now()),
           extract(epoch FROM now() - w.last_run_at),
           w.last_repaired, w.total_repaired,
           (SELECT count(*) FROM app.dead_letters)
      FROM app.sweeps w;
$$;
