/** Rows of PostgreSQL's tables as one release. Pure. */
import { type CheckedRelease, checkRelease, type Release } from "./release.ts";

export interface EventTypeRow {
  readonly name: string;
  readonly schema_version: number;
  readonly schema: Readonly<Record<string, unknown>>;
}

export interface DataSourceRow {
  readonly name: string;
  readonly is_historical: boolean;
}

export interface ProcessingRuleRow {
  readonly name: string;
  readonly rule_type: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly priority: number;
}

export interface RulesRows {
  readonly eventTypes: readonly EventTypeRow[];
  readonly dataSources: readonly DataSourceRow[];
  readonly processingRules: readonly ProcessingRuleRow[];
}

/** Rules of other types than validation are not the validator's and stay out. */
export function assembleRelease(rows: RulesRows, version: number): CheckedRelease {
  return checkRelease({
    version,
    eventTypes: rows.eventTypes.map(({ name, schema_version, schema }) =>
      Object.assign({}, schema, { name, schemaVersion: schema_version }),
    ),
    sources: rows.dataSources.map(({ name, is_historical }) => ({ name, historical: is_historical })),
    rules: rows.processingRules
      .filter(({ rule_type }) => rule_type === "validation")
      .map(({ name, config, priority }) => Object.assign({}, config, { name, priority })),
  });
}

/** The rows that a release is assembled from. */
export function rowsOf({ eventTypes, sources, rules }: Pick<Release, "eventTypes" | "sources" | "rules">): RulesRows {
  return {
    eventTypes: eventTypes.map(({ name, schemaVersion, ...schema }) => ({ name, schema_version: schemaVersion, schema })),
    dataSources: sources.map(({ name, historical }) => ({ name, is_historical: historical })),
    processingRules: rules.map(({ name, priority, ...config }) => ({ name, rule_type: "validation", config, priority })),
  };
}
