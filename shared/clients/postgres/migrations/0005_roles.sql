-- Who may do what. Roles are of the whole server and have no login: a person or service gets a login that is a member.
--   weir_reader       sees event types, sources, rules and the audit log, as far as its sources go
--   weir_editor       also changes them, as far as its sources go
--   weir_admin        everything there is to do: applies releases, replays dead letters, says who sees which source
--   weir_pipeline     what runs: reads the tables, notes where it has announced a release, and nothing else
--   weir_all_sources  sees and changes all sources; without it only those in source_grants
--   weir_backup       reads everything, whole

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['weir_reader', 'weir_editor', 'weir_admin', 'weir_pipeline', 'weir_all_sources', 'weir_backup'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role_name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- Another database of this server is being migrated at this moment.
      END;
    END IF;
  END LOOP;
END $$;

DO $$
DECLARE
  pair text[];
BEGIN
  FOREACH pair SLICE 1 IN ARRAY ARRAY[
    ['weir_reader', 'weir_editor'], ['weir_editor', 'weir_admin'], ['weir_all_sources', 'weir_admin'], ['weir_all_sources', 'weir_pipeline'],
    ['weir_all_sources', 'weir_backup']
  ] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_auth_members WHERE roleid = pair[1]::regrole AND member = pair[2]::regrole) THEN
      BEGIN
        EXECUTE format('GRANT %I TO %I', pair[1], pair[2]);
      EXCEPTION WHEN OTHERS THEN
        -- "tuple concurrently updated": as above.
        IF NOT EXISTS (SELECT 1 FROM pg_auth_members WHERE roleid = pair[1]::regrole AND member = pair[2]::regrole) THEN
          RAISE;
        END IF;
      END;
    END IF;
  END LOOP;
END $$;

-- Which login or role, beside the members of weir_all_sources, sees and changes which source. No row: none.
CREATE TABLE source_grants (
  grantee text NOT NULL,
  source  text NOT NULL,
  PRIMARY KEY (grantee, source)
);

CREATE FUNCTION has_source(wanted text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT pg_has_role(session_user, 'weir_all_sources', 'MEMBER') OR EXISTS (
    SELECT 1 FROM source_grants g JOIN pg_roles r ON r.rolname = g.grantee
    WHERE g.source = wanted AND pg_has_role(session_user, r.oid, 'MEMBER'))
$$;

-- Of a rule: one without sources is about the events of all.
CREATE FUNCTION sees_rule(config jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT config -> 'sources' IS NULL OR jsonb_typeof(config -> 'sources') <> 'array'
    OR EXISTS (SELECT 1 FROM jsonb_array_elements_text(config -> 'sources') s WHERE has_source(s))
$$;

CREATE FUNCTION owns_rule(config jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT pg_has_role(session_user, 'weir_all_sources', 'MEMBER') OR (
    jsonb_typeof(config -> 'sources') = 'array' AND jsonb_array_length(config -> 'sources') > 0
    AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text(config -> 'sources') s WHERE NOT has_source(s)))
$$;

-- The audit row is written with the owner's rights, whoever makes the change: nobody else can write one. `login` is who was connected, which no setting
-- changes; `actor` is what the program says of its user.
ALTER TABLE audit_logs ADD COLUMN login text NOT NULL DEFAULT '';

CREATE OR REPLACE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
  new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
  actual  jsonb := coalesce(new_row, old_row);
BEGIN
  IF TG_TABLE_NAME = 'rules_releases' THEN
    new_row := new_row - 'content' - 'source';
  END IF;
  INSERT INTO public.audit_logs (actor, login, reason, action, table_name, row_key, old_row, new_row)
  VALUES (coalesce(nullif(current_setting('weir.actor', true), ''), session_user), session_user, coalesce(current_setting('weir.reason', true), ''),
          TG_OP, TG_TABLE_NAME, coalesce(actual ->> 'name', actual ->> 'version', concat_ws(' ', actual ->> 'grantee', actual ->> 'source')), old_row, new_row);
  RETURN NULL;
END $$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON source_grants FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON source_grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON FUNCTION write_audit() FROM PUBLIC;

GRANT USAGE ON SCHEMA public TO weir_reader, weir_pipeline, weir_backup;
GRANT SELECT ON event_types, data_sources, processing_rules, audit_logs TO weir_reader;
GRANT INSERT, UPDATE, DELETE ON event_types, data_sources, processing_rules TO weir_editor;
-- Taking rows' history or numbers in hand is nobody's: no UPDATE that a trigger would not refuse, no TRUNCATE. UPDATE of releases is what LOCK TABLE asks
-- for; the trigger refuses the change itself.
GRANT SELECT, INSERT, UPDATE ON rules_releases, rules_switches TO weir_admin;
GRANT SELECT, INSERT, UPDATE ON dlq_replays, dlq_replay_letters TO weir_admin;
GRANT SELECT, INSERT, DELETE ON source_grants TO weir_admin;
GRANT SELECT ON schema_migrations TO weir_admin, weir_backup;
GRANT SELECT ON event_types, data_sources, processing_rules, rules_releases, rules_switches TO weir_pipeline;
GRANT INSERT ON rules_switches TO weir_pipeline;
GRANT SELECT ON event_types, data_sources, processing_rules, audit_logs, rules_releases, rules_switches, dlq_replays, dlq_replay_letters, source_grants
  TO weir_backup;

ALTER TABLE data_sources ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON data_sources FOR SELECT USING (has_source(name));
CREATE POLICY made ON data_sources FOR INSERT WITH CHECK (has_source(name));
CREATE POLICY changed ON data_sources FOR UPDATE USING (has_source(name)) WITH CHECK (has_source(name));
CREATE POLICY removed ON data_sources FOR DELETE USING (has_source(name));

ALTER TABLE processing_rules ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON processing_rules FOR SELECT USING (sees_rule(config));
CREATE POLICY made ON processing_rules FOR INSERT WITH CHECK (owns_rule(config));
CREATE POLICY changed ON processing_rules FOR UPDATE USING (owns_rule(config)) WITH CHECK (owns_rule(config));
CREATE POLICY removed ON processing_rules FOR DELETE USING (owns_rule(config));

-- A type is what events of every source are judged by.
ALTER TABLE event_types ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON event_types FOR SELECT USING (true);
CREATE POLICY made ON event_types FOR INSERT WITH CHECK (pg_has_role(session_user, 'weir_all_sources', 'MEMBER'));
CREATE POLICY changed ON event_types FOR UPDATE USING (pg_has_role(session_user, 'weir_all_sources', 'MEMBER'));
CREATE POLICY removed ON event_types FOR DELETE USING (pg_has_role(session_user, 'weir_all_sources', 'MEMBER'));

-- What the log says of a row is seen by whom the row is.
ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON audit_logs FOR SELECT USING (
  CASE table_name
    WHEN 'event_types' THEN true
    WHEN 'data_sources' THEN has_source(row_key)
    WHEN 'processing_rules' THEN sees_rule(coalesce(new_row, old_row) -> 'config') AND sees_rule(coalesce(old_row, new_row) -> 'config')
    ELSE pg_has_role(session_user, 'weir_all_sources', 'MEMBER')
  END);
