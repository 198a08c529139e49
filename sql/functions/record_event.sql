-- Append one line to a job's timeline.
--
-- The foreign key takes a share lock on the job's row. Therefore no function locks a job more
-- strongly than FOR NO KEY UPDATE: a transaction that holds a stage and adds an event must not wait
-- for one that holds the job and waits for the stage.
CREATE OR REPLACE FUNCTION app.record_event(
    p_job_id text, p_kind text, p_detail jsonb DEFAULT '{}', p_task_id text DEFAULT NULL
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO app.events (job_id, task_id, kind, detail, correlation_id)
    VALUES (p_job_id, p_task_id, p_kind, jsonb_strip_nulls(p_detail),
            (SELECT j.correlation_id FROM app.jobs j WHERE j.job_id = p_job_id));
$$;
