-- Store the attempt of a worker whose lease has expired.
CREATE OR REPLACE FUNCTION app.record_lost_attempt(p_task app.tasks)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_error jsonb := jsonb_build_object(
        'code', 'WORKER_LOST', 'message', 'the worker vanished: its lease ran out');
BEGIN
    INSERT INTO app.attempts (task_id, attempt, started_at, finished_at, error)
    VALUES (p_task.task_id, p_task.attempt, p_task.started_at, p_task.lease_expires_at, v_error)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM app.record_event(p_task.job_id, 'attempt_lost',
            jsonb_build_object('attempt', p_task.attempt), p_task.task_id);
    END IF;
END $$;
