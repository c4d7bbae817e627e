/** The tables that people edit, read and written as the rows that a release is assembled from (shared/rules/assemble.ts). */
import type { DataSourceRow, EventTypeRow, ProcessingRuleRow, RulesRows } from "../../rules/assemble.ts";
import type { Session } from "./database.ts";

/** What is active, in an order that depends on nothing but the rows. */
export async function readRows(session: Session): Promise<RulesRows> {
  const [eventTypes, dataSources, processingRules] = [
    await session.query<EventTypeRow>(
      `SELECT name, schema_version, schema FROM event_types WHERE is_active ORDER BY name COLLATE "C", schema_version`,
    ),
    await session.query<DataSourceRow>(`SELECT name, is_historical FROM data_sources WHERE is_active ORDER BY name COLLATE "C"`),
    await session.query<ProcessingRuleRow>(
      `SELECT name, rule_type, config, priority FROM processing_rules WHERE is_active AND rule_type = 'validation'
       ORDER BY priority, name COLLATE "C"`,
    ),
  ];
  return { eventTypes, dataSources, processingRules };
}

/** Makes exactly these rows the active ones; rows that are so already are not touched, so that the audit shows changes only. */
export async function writeRows(session: Session, rows: RulesRows): Promise<void> {
  for (const { name, schema_version, schema } of rows.eventTypes) {
    await session.query(
      `INSERT INTO event_types AS t (name, schema_version, schema) VALUES ($1, $2, $3::jsonb)
       ON CONFLICT (name, schema_version) DO UPDATE SET schema = excluded.schema, is_active = true
       WHERE t.schema IS DISTINCT FROM excluded.schema OR NOT t.is_active`,
      [name, schema_version, JSON.stringify(schema)],
    );
  }
  await session.query(
    `UPDATE event_types SET is_active = false WHERE is_active
     AND (name, schema_version) NOT IN (SELECT * FROM unnest($1::text[], $2::int[]))`,
    [rows.eventTypes.map((row) => row.name), rows.eventTypes.map((row) => row.schema_version)],
  );
  for (const { name, is_historical } of rows.dataSources) {
    await session.query(
      `INSERT INTO data_sources AS s (name, is_historical) VALUES ($1, $2)
       ON CONFLICT (name) DO UPDATE SET is_historical = excluded.is_historical, is_active = true
       WHERE s.is_historical <> excluded.is_historical OR NOT s.is_active`,
      [name, is_historical],
    );
  }
  await session.query("UPDATE data_sources SET is_active = false WHERE is_active AND name <> ALL ($1::text[])", [
    rows.dataSources.map((row) => row.name),
  ]);
  for (const { name, rule_type, config, priority } of rows.processingRules) {
    await session.query(
      `INSERT INTO processing_rules AS r (name, rule_type, config, priority) VALUES ($1, $2, $3::jsonb, $4)
       ON CONFLICT (name) DO UPDATE SET rule_type = excluded.rule_type, config = excluded.config, priority = excluded.priority, is_active = true
       WHERE (r.rule_type, r.config, r.priority) IS DISTINCT FROM (excluded.rule_type, excluded.config, excluded.priority) OR NOT r.is_active`,
      [name, rule_type, JSON.stringify(config), priority],
    );
  }
  await session.query(
    "UPDATE processing_rules SET is_active = false WHERE is_active AND rule_type = 'validation' AND name <> ALL ($1::text[])",
    [rows.processingRules.map((row) => row.name)],
  );
}
