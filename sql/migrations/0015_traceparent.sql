-- The span of the request that started the current run of a job: https://www.w3.org/TR/trace-context/
ALTER TABLE app.jobs ADD COLUMN traceparent text;
