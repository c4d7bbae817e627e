-- TRUNCATE fires no row trigger: it would empty the append-only tables, and the others without an audit row.
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON rules_releases FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is audited: delete its rows instead', TG_TABLE_NAME;
END $$;
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON event_types FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON data_sources FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON processing_rules FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
