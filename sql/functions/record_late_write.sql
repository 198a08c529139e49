-- Add an event for a write of an attempt that no longer holds its task. A repetition of the
-- accepted write is not late.
CREATE OR REPLACE FUNCTION app.record_late_write(p_task_id text, p_attempt int)
RETURNS void LANGUAGE sql AS $$
    SELECT app.record_event(t.job_id, 'late_write_refused',
               jsonb_build_object('attempt', p_attempt, 'current_attempt', t.attempt,
                                  'status', t.status), t.task_id)
      FROM app.tasks t
     WHERE t.task_id = p_task_id
       AND NOT (t.attempt = p_attempt AND t.status IN ('completed', 'failed'));
$$;
