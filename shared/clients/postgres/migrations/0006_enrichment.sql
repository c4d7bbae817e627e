-- Tables of attributes that rows are enriched from: who published which, why, and where in each partition's log it took effect.

CREATE TABLE enrichment_releases (
  version      integer PRIMARY KEY CHECK (version > 0),
  -- Of content.
  sha256       text NOT NULL,
  -- The very bytes of the object: one that is lost is put back from here.
  content      text NOT NULL CHECK (octet_length(content) <= 1048576),
  -- Of the table without its version: two versions with the same rows are told by it.
  table_sha256 text NOT NULL,
  -- source, event_type or a pointer below /properties/
  key          text NOT NULL,
  row_count    integer NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('publish', 'rollback')),
  actor        text NOT NULL,
  reason       text NOT NULL,
  -- Of a rollback: the version whose rows these are.
  restores     integer REFERENCES enrichment_releases (version),
  created_at   timestamptz NOT NULL DEFAULT now()
);

-- One row per control record. Newer rows of a partition stand further down its log.
CREATE TABLE enrichment_switches (
  lane       text NOT NULL,
  generation integer NOT NULL,
  partition  integer NOT NULL,
  version    integer NOT NULL REFERENCES enrichment_releases (version),
  -- Of the control record in events.valid.
  log_offset bigint NOT NULL,
  at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (lane, generation, partition, log_offset, version)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON enrichment_releases FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON enrichment_switches FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON enrichment_releases FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON enrichment_switches FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- As in 0005_roles.sql, and the content of a table is left out as that of a release of the rules is.
CREATE OR REPLACE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
  new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
  actual  jsonb := coalesce(new_row, old_row);
BEGIN
  IF TG_TABLE_NAME IN ('rules_releases', 'enrichment_releases') THEN
    new_row := new_row - 'content' - 'source';
  END IF;
  INSERT INTO public.audit_logs (actor, login, reason, action, table_name, row_key, old_row, new_row)
  VALUES (coalesce(nullif(current_setting('weir.actor', true), ''), session_user), session_user, coalesce(current_setting('weir.reason', true), ''),
          TG_OP, TG_TABLE_NAME, coalesce(actual ->> 'name', actual ->> 'version', concat_ws(' ', actual ->> 'grantee', actual ->> 'source')), old_row, new_row);
  RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT ON enrichment_releases FOR EACH ROW EXECUTE FUNCTION write_audit();

REVOKE ALL ON enrichment_releases, enrichment_switches FROM PUBLIC;
GRANT SELECT, INSERT ON enrichment_releases, enrichment_switches TO weir_admin;
GRANT SELECT ON enrichment_releases, enrichment_switches TO weir_pipeline;
GRANT INSERT ON enrichment_switches TO weir_pipeline;
GRANT SELECT ON enrichment_releases, enrichment_switches TO weir_backup;
