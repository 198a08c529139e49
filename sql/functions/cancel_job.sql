-- Cancel a job and its open tasks at once. Only this function sets a job to 'cancelled'.
--
-- Workers that run one of the tasks notice at their next heartbeat, and their writes are refused.
-- A job that has ended does not change. No row: the job does not exist.
CREATE OR REPLACE FUNCTION app.cancel_job(p_job_id text)
RETURNS SETOF app.jobs LANGUAGE plpgsql AS $$
DECLARE
    v_job       app.jobs;
    v_cancelled int;
BEGIN
    SELECT * INTO v_job FROM app.jobs WHERE job_id = p_job_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_job.status IN ('queued', 'processing') THEN
        PERFORM FROM app.stages WHERE job_id = p_job_id AND stage = v_job.stage FOR UPDATE;
        v_cancelled := app.cancel_open_tasks(p_job_id, v_job.stage);
        UPDATE app.stages
           SET status = 'cancelled', open_tasks = 0, finished_at = now(),
               cancelled_tasks = cancelled_tasks + v_cancelled
         WHERE job_id = p_job_id AND stage = v_job.stage AND status = 'processing';
        UPDATE app.jobs SET status = 'cancelled', updated_at = now(), finished_at = now()
         WHERE job_id = p_job_id
        RETURNING * INTO v_job;
        PERFORM app.record_event(p_job_id, 'job_cancelled',
            jsonb_build_object('tasks', v_cancelled));
    END IF;
    RETURN NEXT v_job;
END $$;
