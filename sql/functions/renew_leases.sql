-- Renew the leases of running tasks and store their progress.
--
-- Returns the ids of the tasks that the caller still holds; the others were cancelled or claimed by
-- another worker. Rows are locked in the order of their ids, so this cannot deadlock with a cancel.
CREATE OR REPLACE FUNCTION app.renew_leases(
    p_task_ids text[], p_attempts int[], p_progress real[], p_messages text[], p_lease interval
) RETURNS SETOF text LANGUAGE sql AS $$
    WITH held AS (
        SELECT t.task_id, m.progress, m.message
          FROM unnest(p_task_ids, p_attempts, p_progress, p_messages)
               AS m (task_id, attempt, progress, message)
          JOIN app.tasks t ON t.task_id = m.task_id
                          AND t.attempt = m.attempt AND t.status = 'processing'
         ORDER BY t.task_id
           FOR UPDATE OF t
    )
    UPDATE app.tasks t
       SET lease_expires_at = now() + p_lease, progress = h.progress, progress_message = h.message
      FROM held h
     WHERE t.task_id = h.task_id AND t.status = 'processing'
    RETURNING t.task_id;
$$;
