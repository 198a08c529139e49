-- Store a job under a caller's key, or find the job that the key stands for.
--
-- A key that is known changes nothing, whatever became of its job: the request was answered
-- before. The caller compares the fingerprints, which tell whether it was the same request.
CREATE OR REPLACE FUNCTION app.submit_job_once(
    p_key text, p_fingerprint text,
    p_job_id text, p_job_type text, p_version int, p_parameters jsonb, p_total_stages int
) RETURNS TABLE (fingerprint text, is_new boolean, job_row app.jobs) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.request_keys AS k (key, fingerprint, job_id)
    VALUES (p_key, p_fingerprint, p_job_id)
    ON CONFLICT (key) DO NOTHING;
    IF FOUND THEN
        RETURN QUERY SELECT p_fingerprint, s.is_new, s.job_row
          FROM app.submit_job(p_job_id, p_job_type, p_version, p_parameters, p_total_stages) s;
    ELSE
        RETURN QUERY SELECT k.fingerprint, false, j
          FROM app.request_keys k JOIN app.jobs j USING (job_id) WHERE k.key = p_key;
    END IF;
END $$;
