-- Event types, sources, rules, and who changed them. A release of rules (rules_releases) is what the validator loads; these tables are what people edit.

CREATE TABLE event_types (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name           text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_.-]{0,63}$'),
  description    text NOT NULL DEFAULT '',
  schema_version integer NOT NULL DEFAULT 1 CHECK (schema_version BETWEEN 1 AND 65535),
  -- required, nullable, fields, measure, unknownFields: as in a rules release
  schema         jsonb NOT NULL CHECK (jsonb_typeof(schema) = 'object'),
  is_active      boolean NOT NULL DEFAULT true,
  version        integer NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT now(),
  updated_at     timestamptz NOT NULL DEFAULT now(),
  UNIQUE (name, schema_version)
);

CREATE TABLE data_sources (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL UNIQUE CHECK (name ~ '^[a-z][a-z0-9_.-]{0,63}$'),
  description   text NOT NULL DEFAULT '',
  -- A historical source sends events of any age: the age check does not apply.
  is_historical boolean NOT NULL DEFAULT false,
  is_active     boolean NOT NULL DEFAULT true,
  version       integer NOT NULL DEFAULT 1,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE processing_rules (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE,
  rule_type  text NOT NULL CHECK (rule_type IN ('validation', 'transformation', 'aggregation')),
  config     jsonb NOT NULL CHECK (jsonb_typeof(config) = 'object'),
  priority   integer NOT NULL DEFAULT 100,
  is_active  boolean NOT NULL DEFAULT true,
  version    integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE rules_releases (
  version    integer PRIMARY KEY CHECK (version > 0),
  sha256     text NOT NULL,
  content    text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_logs (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at         timestamptz NOT NULL DEFAULT now(),
  actor      text NOT NULL,
  action     text NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
  table_name text NOT NULL,
  row_key    text NOT NULL,
  old_row    jsonb,
  new_row    jsonb
);
CREATE INDEX audit_logs_by_row ON audit_logs (table_name, row_key, at);

-- The audit row is written by the database, in the transaction of the change: no write path can forget it.
CREATE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
  new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
  actual  jsonb := coalesce(new_row, old_row);
BEGIN
  INSERT INTO audit_logs (actor, action, table_name, row_key, old_row, new_row)
  VALUES (coalesce(nullif(current_setting('weir.actor', true), ''), session_user), TG_OP, TG_TABLE_NAME,
          coalesce(actual ->> 'name', actual ->> 'version'), old_row, new_row);
  RETURN NULL;
END $$;

CREATE FUNCTION count_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.version := OLD.version + 1;
  NEW.updated_at := now();
  RETURN NEW;
END $$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON event_types FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON data_sources FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON processing_rules FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER audit AFTER INSERT ON rules_releases FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER count_version BEFORE UPDATE ON event_types FOR EACH ROW EXECUTE FUNCTION count_version();
CREATE TRIGGER count_version BEFORE UPDATE ON data_sources FOR EACH ROW EXECUTE FUNCTION count_version();
CREATE TRIGGER count_version BEFORE UPDATE ON processing_rules FOR EACH ROW EXECUTE FUNCTION count_version();

-- A release never changes, and the log of changes is only ever added to.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rules_releases FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_logs FOR EACH ROW EXECUTE FUNCTION refuse_change();
