-- Note that an attempt is about to upload a blob. Returns the output's id: the same one when it is
-- repeated and in a later attempt. No id: the attempt does not hold its task any more, or
-- superseded_by names a job that started later and writes to the same location. So of jobs that
-- write to one location at once the one that started last wins, whatever their tasks' order.
CREATE OR REPLACE FUNCTION app.begin_upload(
    p_task_id text, p_attempt int, p_container text, p_name text, p_location text, p_tier text,
    p_source text, p_source_etag text, p_request text, p_generation int
) RETURNS TABLE (output_id bigint, superseded_by text) LANGUAGE plpgsql AS $$
DECLARE
    v_job app.jobs;
BEGIN
    SELECT j.* INTO v_job FROM app.tasks t JOIN app.jobs j USING (job_id)
     WHERE t.task_id = p_task_id AND t.attempt = p_attempt AND t.status = 'processing'
       FOR SHARE OF t;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::bigint, NULL::text;
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(
        hashtextextended('location ' || p_container || '/' || p_location, 0));
    SELECT o.job_id INTO superseded_by
      FROM app.outputs o JOIN app.jobs j ON j.job_id = o.job_id
     WHERE o.container = p_container AND o.location = p_location AND o.job_id <> v_job.job_id
       AND o.superseded_at IS NULL AND o.removed_at IS NULL
       AND j.status NOT IN ('failed', 'cancelled')
       AND (j.started_at, j.job_id) > (v_job.started_at, v_job.job_id)
     ORDER BY j.started_at DESC LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO app.outputs AS o (container, name, location, tier, source, source_etag,
                                      request, generation, job_id, task_id)
        VALUES (p_container, p_name, p_location, p_tier, p_source, p_source_etag,
                p_request, p_generation, v_job.job_id, p_task_id)
        ON CONFLICT (task_id, container, name) WHERE written_at IS NULL AND removed_at IS NULL
        DO UPDATE SET begun_at = now()
        RETURNING o.output_id INTO output_id;
    END IF;
    RETURN NEXT;
END $$;
