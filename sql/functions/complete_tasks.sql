-- Close attempts that succeeded, and return the stage of each, counted down once for all of them.
--
-- Each attempt is accepted or refused on its own, as in complete_task_and_check_stage. No row: the
-- task belonged to an earlier run. Stages are locked before tasks, each in the order of their ids,
-- as in all functions. `released` is another task of the same stage that may run now.
DROP FUNCTION IF EXISTS app.complete_tasks(text[], int[], jsonb[]);
CREATE OR REPLACE FUNCTION app.complete_tasks(
    p_task_ids text[], p_attempts int[], p_results jsonb[]
) RETURNS TABLE (task_id text, applied boolean, stage_row app.stages, released text) LANGUAGE plpgsql AS $$
DECLARE
    v_closed text[];
BEGIN
    PERFORM FROM app.stages s
      WHERE (s.job_id, s.stage) IN (
            SELECT t.job_id, t.stage FROM app.tasks t WHERE t.task_id = ANY (p_task_ids))
      ORDER BY s.job_id, s.stage
        FOR UPDATE;
    PERFORM FROM app.tasks t WHERE t.task_id = ANY (p_task_ids) ORDER BY t.task_id FOR UPDATE;

    WITH closed AS (
        UPDATE app.tasks t
           SET status = 'completed', result = d.result, error = NULL, lease_expires_at = NULL,
               finished_at = now(), progress = 1
          FROM unnest(p_task_ids, p_attempts, p_results) AS d (task_id, attempt, result)
         WHERE t.task_id = d.task_id AND t.attempt = d.attempt AND t.status = 'processing'
        RETURNING t.task_id
    )
    SELECT coalesce(array_agg(c.task_id), '{}') INTO v_closed FROM closed c;

    PERFORM app.count_down(n.job_id, n.stage, n.closed, 0, 0)
       FROM (SELECT t.job_id, t.stage, count(*)::int AS closed
               FROM app.tasks t WHERE t.task_id = ANY (v_closed) GROUP BY 1, 2) n;
    PERFORM app.record_late_write(d.task_id, d.attempt)
       FROM unnest(p_task_ids, p_attempts) AS d (task_id, attempt)
      WHERE d.task_id <> ALL (v_closed);

    RETURN QUERY
        WITH closed AS (
            SELECT t.job_id, t.stage, array_agg(t.task_id) AS task_ids
              FROM app.tasks t WHERE t.task_id = ANY (v_closed) GROUP BY 1, 2
        ), replaced AS (
            SELECT r.task_id, r.released
              FROM closed c,
                   unnest(c.task_ids,
                          app.release_tasks(c.job_id, c.stage, cardinality(c.task_ids)))
                   AS r (task_id, released)
        )
        SELECT t.task_id, t.task_id = ANY (v_closed), s, r.released
          FROM app.tasks t
          JOIN app.stages s USING (job_id, stage)
          LEFT JOIN replaced r ON r.task_id = t.task_id
         WHERE t.task_id = ANY (p_task_ids);
END $$;
