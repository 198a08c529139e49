-- The tasks of a job that have an error, for lists of the failed ones. The predicate is on `error`
-- and not on `status`: an index over a column that every task changes would prevent HOT updates.
CREATE INDEX tasks_with_error ON app.tasks (job_id, stage, task_index) WHERE error IS NOT NULL;
