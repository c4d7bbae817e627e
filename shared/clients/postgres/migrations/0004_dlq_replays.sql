-- Replays of dead letters: who replayed what, when and how far it came. The order and the numbering of what a replay sends follow from these rows
-- and the log alone, so a replay that was killed goes on where the target's log ends.

CREATE TABLE dlq_replays (
  name         text PRIMARY KEY CHECK (name ~ '^[0-9a-f]{16}$'),
  lane         text NOT NULL,
  generation   integer NOT NULL,
  -- Of the command's words: the same command again goes on with the replay that it began.
  command_hash text NOT NULL,
  -- Filter, edits, limits, target, ranges of events.dlq, rules version and time of the checks: fixed when the replay begins.
  request      jsonb NOT NULL CHECK (jsonb_typeof(request) = 'object'),
  producer_id  bigint NOT NULL,
  -- By target partition: next offset to look at, next sequence, last letter sent.
  progress     jsonb NOT NULL,
  state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'abandoned')),
  counts       jsonb NOT NULL DEFAULT '{}',
  created_by   text NOT NULL,
  version      integer NOT NULL DEFAULT 1,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now()
);
-- Two replays of one lane at a time could send one letter twice.
CREATE UNIQUE INDEX dlq_replays_one_running ON dlq_replays (lane, generation) WHERE state = 'running';

-- Which letters were sent: offsets of events.dlq, rising, as differences in LEB128.
CREATE TABLE dlq_replay_letters (
  replay    text NOT NULL REFERENCES dlq_replays (name),
  -- The target partition, and the sequence of the first of them there.
  target    integer NOT NULL,
  sequence  bigint NOT NULL,
  partition integer NOT NULL,
  letters   integer NOT NULL CHECK (letters > 0),
  offsets   bytea NOT NULL,
  PRIMARY KEY (replay, target, sequence)
);

CREATE TRIGGER count_version BEFORE UPDATE ON dlq_replays FOR EACH ROW EXECUTE FUNCTION count_version();
CREATE TRIGGER audit AFTER INSERT ON dlq_replays FOR EACH ROW EXECUTE FUNCTION write_audit();
-- How far it is stands in the row; the audit log has the beginning and the end.
CREATE TRIGGER audit_end AFTER UPDATE ON dlq_replays FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION write_audit();

CREATE FUNCTION refuse_replay_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.state = 'running' AND (OLD.request, OLD.producer_id, OLD.created_by) = (NEW.request, NEW.producer_id, NEW.created_by) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'replay % has ended or its request would change: it is kept as it is', OLD.name;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON dlq_replays FOR EACH ROW EXECUTE FUNCTION refuse_replay_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON dlq_replay_letters FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON dlq_replays FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON dlq_replay_letters FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
