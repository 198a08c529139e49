-- Advance a job to its next stage. True exactly once per run and stage.
--
-- The caller copies the stage's tasks into app.tasks in the same transaction: all rows of a
-- stage exist before its first message. Of these tasks it schedules the first p_in_flight_limit;
-- the others are held: release_tasks.sql. The previous release names no limit.
DROP FUNCTION IF EXISTS app.start_stage(text, int, int, text, boolean, int);
CREATE OR REPLACE FUNCTION app.start_stage(
    p_job_id text, p_run int, p_stage int, p_task_type text, p_best_effort boolean, p_total int,
    p_in_flight_limit int DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_job app.jobs;
BEGIN
    SELECT * INTO v_job FROM app.jobs WHERE job_id = p_job_id FOR NO KEY UPDATE;
    IF v_job.run IS DISTINCT FROM p_run OR v_job.stage <> p_stage - 1
       OR v_job.status NOT IN ('queued', 'processing')
       OR EXISTS (SELECT FROM app.stages
                   WHERE job_id = p_job_id AND stage = v_job.stage
                     AND status NOT IN ('completed', 'completed_with_errors')) THEN
        RETURN false;
    END IF;

    INSERT INTO app.stages (job_id, stage, task_type, best_effort, status,
                            total_tasks, open_tasks, finished_at, in_flight_limit, first_held)
    VALUES (p_job_id, p_stage, p_task_type, p_best_effort,
            CASE WHEN p_total = 0 THEN 'completed' ELSE 'processing' END,
            p_total, p_total, CASE WHEN p_total = 0 THEN now() END,
            p_in_flight_limit, least(p_in_flight_limit, p_total));
    UPDATE app.jobs
       SET status = 'processing', stage = p_stage, redelivered_at = NULL,
           updated_at = now(), started_at = coalesce(started_at, now())
     WHERE job_id = p_job_id;
    PERFORM app.record_event(p_job_id, 'stage_started',
        jsonb_build_object('stage', p_stage, 'task_type', p_task_type, 'tasks', p_total));
    RETURN true;
END $$;
