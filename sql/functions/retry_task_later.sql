-- Return a claimed task to the queue after a transient failure, due again after a delay.
--
-- False when the attempt no longer holds the task. The attempt and its error are stored. Repeated
-- by the same attempt, the call changes nothing and gives the same answer.
CREATE OR REPLACE FUNCTION app.retry_task_later(
    p_task_id text, p_attempt int, p_error jsonb, p_delay interval
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_task app.tasks;
BEGIN
    UPDATE app.tasks
       SET status = 'queued', scheduled_at = now() + p_delay, lease_expires_at = NULL, redelivered_at = NULL,
           error = p_error
     WHERE task_id = p_task_id AND attempt = p_attempt AND status = 'processing'
    RETURNING * INTO v_task;
    IF NOT FOUND THEN
        PERFORM FROM app.tasks
          WHERE task_id = p_task_id AND attempt = p_attempt AND status = 'queued'
            AND spent_attempts < p_attempt;
        IF FOUND THEN
            RETURN true;
        END IF;
        PERFORM app.record_late_write(p_task_id, p_attempt);
        RETURN false;
    END IF;
    INSERT INTO app.attempts (task_id, attempt, started_at, error)
    VALUES (p_task_id, p_attempt, v_task.started_at, p_error);
    PERFORM app.record_event(v_task.job_id, 'task_retried',
        p_error || jsonb_build_object('attempt', p_attempt, 'due_at', v_task.scheduled_at), p_task_id);
    RETURN true;
END $$;
