-- The previous release's name for claim_attempts, with its name for the outcome run_alone.
-- Dropped once no host of that release can run.
CREATE OR REPLACE FUNCTION app.claim_tasks(p_task_ids text[], p_lease interval, p_claim_id uuid)
RETURNS TABLE (outcome text, task_row app.tasks) LANGUAGE sql AS $$
    SELECT CASE c.outcome WHEN 'run_alone' THEN 'alone' ELSE c.outcome END, c.task_row
      FROM app.claim_attempts(p_task_ids, p_lease, p_claim_id) c;
$$;
