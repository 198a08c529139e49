-- Cancel the open tasks of a stage and return their number. Only this function sets a task to
-- 'cancelled'. The caller holds the lock of the stage's row.
CREATE OR REPLACE FUNCTION app.cancel_open_tasks(p_job_id text, p_stage int)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_count int;
BEGIN
    WITH open AS (
        SELECT task_id FROM app.tasks
         WHERE job_id = p_job_id AND stage = p_stage AND status IN ('queued', 'processing')
         ORDER BY task_id
           FOR UPDATE
    )
    UPDATE app.tasks t
       SET status = 'cancelled', lease_expires_at = NULL, finished_at = now()
      FROM open o
     WHERE t.task_id = o.task_id AND t.status IN ('queued', 'processing');
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
