-- A completed job of a type with runs_again starts a new run: accept_job.sql.
INSERT INTO app.transitions VALUES
    ('job', 'completed', 'queued'),
    ('job', 'completed_with_errors', 'queued');
