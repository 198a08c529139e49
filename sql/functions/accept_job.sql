-- Store a job, or find it.
--
-- A running or completed job is returned as it is. A failed or cancelled one, and with p_runs_again a
-- completed one, starts a new run; its stages and tasks are deleted, so workers and messages of the
-- old run find nothing. The previous release does not name p_runs_again.
DROP FUNCTION IF EXISTS app.accept_job(text, text, int, jsonb, int, text, text, text);
CREATE OR REPLACE FUNCTION app.accept_job(
    p_job_id text, p_job_type text, p_version int, p_parameters jsonb, p_total_stages int,
    p_correlation_id text, p_priority text, p_traceparent text, p_runs_again boolean DEFAULT false
) RETURNS TABLE (is_new boolean, job_row app.jobs) LANGUAGE plpgsql AS $$
DECLARE
    v_job app.jobs;
BEGIN
    INSERT INTO app.jobs (job_id, job_type, version, parameters, total_stages, correlation_id,
                          priority, traceparent)
    VALUES (p_job_id, p_job_type, p_version, p_parameters, p_total_stages, p_correlation_id,
            p_priority, p_traceparent)
    ON CONFLICT (job_id) DO NOTHING
    RETURNING * INTO v_job;
    IF FOUND THEN
        PERFORM app.record_event(p_job_id, 'job_submitted');
        RETURN QUERY SELECT true, v_job;
        RETURN;
    END IF;

    SELECT * INTO v_job FROM app.jobs j WHERE j.job_id = p_job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        -- Purged between the two statements.
        RETURN QUERY SELECT * FROM app.accept_job(
            p_job_id, p_job_type, p_version, p_parameters, p_total_stages, p_correlation_id,
            p_priority, p_traceparent, p_runs_again);
        RETURN;
    END IF;
    IF v_job.status IN ('queued', 'processing')
       OR v_job.status IN ('completed', 'completed_with_errors') AND NOT p_runs_again THEN
        RETURN QUERY SELECT false, v_job;
        RETURN;
    END IF;

    -- In the order in which late workers and messages of the old run lock them.
    PERFORM FROM app.stages s WHERE s.job_id = p_job_id ORDER BY s.stage FOR UPDATE;
    PERFORM FROM app.tasks t WHERE t.job_id = p_job_id ORDER BY t.task_id FOR UPDATE;
    DELETE FROM app.stages s WHERE s.job_id = p_job_id;
    UPDATE app.jobs j
       SET status = 'queued', run = j.run + 1, stage = 0, total_stages = p_total_stages,
           correlation_id = p_correlation_id, priority = p_priority, traceparent = p_traceparent,
           result = NULL, error = NULL, redelivered_at = NULL, discarded_at = NULL,
           updated_at = now(), started_at = NULL, finished_at = NULL
     WHERE j.job_id = p_job_id
    RETURNING * INTO v_job;
    PERFORM app.record_event(p_job_id, 'job_resubmitted', jsonb_build_object('run', v_job.run));
    RETURN QUERY SELECT true, v_job;
END $$;
