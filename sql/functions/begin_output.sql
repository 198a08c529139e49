-- Note that an attempt is about to upload a blob. Returns the output's id, or NULL when the
-- attempt does not hold its task any more. Repeated, and in a later attempt, it returns the same id.
CREATE OR REPLACE FUNCTION app.begin_output(
    p_task_id text, p_attempt int, p_container text, p_name text, p_location text, p_tier text,
    p_source text, p_source_etag text, p_request text, p_generation int
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_job_id    text;
    v_output_id bigint;
BEGIN
    SELECT t.job_id INTO v_job_id FROM app.tasks t
     WHERE t.task_id = p_task_id AND t.attempt = p_attempt AND t.status = 'processing'
       FOR SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO app.outputs AS o (container, name, location, tier, source, source_etag,
                                  request, generation, job_id, task_id)
    VALUES (p_container, p_name, p_location, p_tier, p_source, p_source_etag,
            p_request, p_generation, v_job_id, p_task_id)
    ON CONFLICT (task_id, container, name) WHERE written_at IS NULL AND removed_at IS NULL
    DO UPDATE SET begun_at = now()
    RETURNING o.output_id INTO v_output_id;
    RETURN v_output_id;
END $$;
