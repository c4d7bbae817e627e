-- Who made a release, why, out of which rows, and where in each partition's log it was announced.

ALTER TABLE rules_releases
  ADD COLUMN kind     text NOT NULL DEFAULT 'apply' CHECK (kind IN ('seed', 'apply', 'rollback')),
  ADD COLUMN actor    text NOT NULL DEFAULT '',
  ADD COLUMN reason   text NOT NULL DEFAULT '',
  ADD COLUMN restores integer REFERENCES rules_releases (version),
  -- The rows that it was assembled from: a rollback puts back what people had written, not only what came of it.
  ADD COLUMN source   jsonb;

-- Append-only: one row per control record. Newer rows of a partition stand further down its log.
CREATE TABLE rules_switches (
  lane       text NOT NULL,
  generation integer NOT NULL,
  partition  integer NOT NULL,
  version    integer NOT NULL REFERENCES rules_releases (version),
  -- Of the control record in events.valid.
  log_offset bigint NOT NULL,
  at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (lane, generation, partition, log_offset, version)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rules_switches FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON rules_switches FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE audit_logs ADD COLUMN reason text NOT NULL DEFAULT '';

-- The reason comes from the session, as the actor does. A release's content and source stand in its own row, which never changes: not again here.
CREATE OR REPLACE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
  new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
  actual  jsonb := coalesce(new_row, old_row);
BEGIN
  IF TG_TABLE_NAME = 'rules_releases' THEN
    new_row := new_row - 'content' - 'source';
  END IF;
  INSERT INTO audit_logs (actor, reason, action, table_name, row_key, old_row, new_row)
  VALUES (coalesce(nullif(current_setting('weir.actor', true), ''), session_user), coalesce(current_setting('weir.reason', true), ''),
          TG_OP, TG_TABLE_NAME, coalesce(actual ->> 'name', actual ->> 'version'), old_row, new_row);
  RETURN NULL;
END $$;
