-- Store a job under an Idempotency-Key, or find the job of the request that used the key before.
--
-- A known key changes nothing, whatever the state of its job. The caller compares the fingerprints
-- to see whether it was the same request.
DROP FUNCTION IF EXISTS app.accept_job_once(text, text, text, text, int, jsonb, int, text, text, text);
CREATE OR REPLACE FUNCTION app.accept_job_once(
    p_key text, p_fingerprint text,
    p_job_id text, p_job_type text, p_version int, p_parameters jsonb, p_total_stages int,
    p_correlation_id text, p_priority text, p_traceparent text, p_runs_again boolean DEFAULT false
) RETURNS TABLE (fingerprint text, is_new boolean, job_row app.jobs) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.request_keys AS k (key, fingerprint, job_id)
    VALUES (p_key, p_fingerprint, p_job_id)
    ON CONFLICT (key) DO NOTHING;
    IF FOUND THEN
        RETURN QUERY SELECT p_fingerprint, s.is_new, s.job_row
          FROM app.accept_job(p_job_id, p_job_type, p_version, p_parameters, p_total_stages,
                              p_correlation_id, p_priority, p_traceparent, p_runs_again) s;
    ELSE
        RETURN QUERY SELECT k.fingerprint, false, j
          FROM app.request_keys k JOIN app.jobs j USING (job_id) WHERE k.key = p_key;
    END IF;
END $$;
