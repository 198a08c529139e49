-- Which items were taken out of the catalogue on request. A job that was done before such a
-- removal does not answer for one submitted after it: jobs put the count into their parameters.
CREATE TABLE app.removals (
    removal_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id text NOT NULL,
    item_id       text NOT NULL,
    source        text COLLATE "C",
    removed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX removals_of_source ON app.removals (collection_id, source);
