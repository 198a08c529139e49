-- The first of these locations that belongs to p_owner or to no one; from then on it is p_owner's.
-- NULL: all belong to others.
CREATE OR REPLACE FUNCTION app.reserve_location(
    p_container text, p_locations text[], p_owner text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_location text;
BEGIN
    -- What the owner has already comes first: a name does not change because another became free.
    SELECT l.location INTO v_location
      FROM app.output_locations l
     WHERE l.container = p_container AND l.location = ANY (p_locations) AND l.owner = p_owner
     ORDER BY array_position(p_locations, l.location)
     LIMIT 1;
    IF FOUND THEN
        RETURN v_location;
    END IF;
    FOREACH v_location IN ARRAY p_locations LOOP
        INSERT INTO app.output_locations (container, location, owner)
        VALUES (p_container, v_location, p_owner)
        ON CONFLICT DO NOTHING;
        IF FOUND OR EXISTS (SELECT FROM app.output_locations l
                             WHERE l.container = p_container AND l.location = v_location
                               AND l.owner = p_owner) THEN
            RETURN v_location;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
