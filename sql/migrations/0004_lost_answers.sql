-- Who asked: a statement that is repeated because its answer was lost gets the same answer again.
ALTER TABLE app.tasks ADD COLUMN claim_id uuid;
ALTER TABLE app.jobs ADD COLUMN retry_id uuid;
