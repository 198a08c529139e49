-- Run the failed tasks of an ended job again and keep the results of the others.
--
-- The job continues at the first stage with failed or cancelled tasks; later stages, made from
-- incomplete results, are deleted. The new run number makes messages and workers of the old run
-- ineffective. Returns the job, unchanged unless it is failed or completed_with_errors: the outputs
-- of a cancelled job were deleted, so it is submitted again instead. No row: the job does not exist.
-- Repeated with the same p_retry_id, because the answer was lost, it gives the same answer.
CREATE OR REPLACE FUNCTION app.retry_job(p_job_id text, p_retry_id uuid)
RETURNS TABLE (retried boolean, job_row app.jobs) LANGUAGE plpgsql AS $$
DECLARE
    v_job   app.jobs;
    v_stage int;
    v_limit int;
    v_tasks int := 0;
BEGIN
    SELECT * INTO v_job FROM app.jobs j WHERE j.job_id = p_job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_job.retry_id = p_retry_id THEN
        RETURN QUERY SELECT true, v_job;
        RETURN;
    END IF;
    IF v_job.status NOT IN ('failed', 'completed_with_errors') THEN
        RETURN QUERY SELECT false, v_job;
        RETURN;
    END IF;

    -- In the order in which late workers and messages lock them: stages, then tasks.
    PERFORM FROM app.stages s WHERE s.job_id = p_job_id ORDER BY s.stage FOR UPDATE;
    SELECT s.stage, s.in_flight_limit INTO v_stage, v_limit FROM app.stages s
     WHERE s.job_id = p_job_id AND s.failed_tasks + s.cancelled_tasks > 0
     ORDER BY s.stage LIMIT 1;
    IF v_stage IS NOT NULL THEN
        DELETE FROM app.stages s WHERE s.job_id = p_job_id AND s.stage > v_stage;
        INSERT INTO app.attempts (task_id, attempt, started_at, finished_at, error)
        SELECT t.task_id, t.attempt, t.started_at, t.finished_at, t.error FROM app.tasks t
         WHERE t.job_id = p_job_id AND t.stage = v_stage AND t.status = 'failed'
            ON CONFLICT DO NOTHING;
        PERFORM FROM app.tasks t
          WHERE t.job_id = p_job_id AND t.stage = v_stage AND t.status IN ('failed', 'cancelled')
          ORDER BY t.task_id
            FOR UPDATE;
        UPDATE app.tasks t
           SET status = 'queued', spent_attempts = t.attempt, redelivered_at = NULL,
               scheduled_at = CASE WHEN v_limit IS NULL THEN now() END,
               error = NULL, finished_at = NULL, progress = 0
         WHERE t.job_id = p_job_id AND t.stage = v_stage AND t.status IN ('failed', 'cancelled');
        GET DIAGNOSTICS v_tasks = ROW_COUNT;
        UPDATE app.stages s
           SET status = 'processing', open_tasks = v_tasks, failed_tasks = 0,
               cancelled_tasks = 0, finished_at = NULL,
               first_held = CASE WHEN v_limit IS NULL THEN s.total_tasks ELSE 0 END
         WHERE s.job_id = p_job_id AND s.stage = v_stage;
        PERFORM app.release_tasks(p_job_id, v_stage, v_limit);
    END IF;
    UPDATE app.jobs j
       SET status = CASE WHEN j.stage = 0 THEN 'queued' ELSE 'processing' END,
           retry_id = p_retry_id, run = j.run + 1, stage = coalesce(v_stage, j.stage), result = NULL, error = NULL,
           redelivered_at = NULL, updated_at = now(), finished_at = NULL
     WHERE j.job_id = p_job_id
    RETURNING * INTO v_job;
    PERFORM app.record_event(p_job_id, 'job_retried',
        jsonb_build_object('run', v_job.run, 'stage', v_stage, 'tasks', v_tasks));
    RETURN QUERY SELECT true, v_job;
END $$;
