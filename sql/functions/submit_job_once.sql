-- The previous release's name for accept_job_once. Dropped once no host of that release can run.
CREATE OR REPLACE FUNCTION app.submit_job_once(
    p_key text, p_fingerprint text,
    p_job_id text, p_job_type text, p_version int, p_parameters jsonb, p_total_stages int
) RETURNS TABLE (fingerprint text, is_new boolean, job_row app.jobs) LANGUAGE sql AS $$
    SELECT * FROM app.accept_job_once(
        p_key, p_fingerprint,
        p_job_id, p_job_type, p_version, p_parameters, p_total_stages, NULL, 'normal', NULL);
$$;
