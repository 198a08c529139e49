-- End a job. Only this function sets completed, completed_with_errors and failed. True exactly
-- once per run. p_stage is the stage that the caller has seen: a job that has advanced since does
-- not end.
CREATE OR REPLACE FUNCTION app.finish_job(
    p_job_id text, p_run int, p_stage int, p_status text, p_result jsonb, p_error jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE app.jobs
       SET status = p_status, result = p_result, error = p_error,
           updated_at = now(), finished_at = now()
     WHERE job_id = p_job_id AND run = p_run AND stage = p_stage
       AND status IN ('queued', 'processing');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM app.record_event(p_job_id, 'job_' || p_status, coalesce(p_error, '{}'));
    RETURN true;
END $$;
