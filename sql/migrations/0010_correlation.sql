-- The correlation id of the request that started the current run of a job, and of each event.
ALTER TABLE app.jobs ADD COLUMN correlation_id text;
ALTER TABLE app.events ADD COLUMN correlation_id text;
