/** The form of a release of the rules, see docs/RULES.md. What its parts mean together is checked in release.ts. */
import { z } from "zod";
import { looseFieldRule, name, pointer, pointers, typedFieldRule } from "./field-rule.ts";

/** The fields of every event, see docs/ARCHITECTURE.md. Their types are fixed; a release may tighten them. */
export const ENVELOPE_FIELDS = [
  "event_id",
  "event_time",
  "user_id",
  "event_type",
  "source",
  "session_id",
  "device_info",
  "geo_location",
  "schema_version",
  "properties",
] as const;

/** Of a release, so that neither compiling it nor holding it warm can surprise anyone. */
export const MAX_TYPES = 1_000;
export const MAX_RULES = 500;

const schemaVersion = z.int().min(1).max(65_535);
const unknownFields = z.enum(["keep", "flag", "reject"]);

const eventTypeSchema = z.strictObject({
  required: pointers.default([]).describe("beside event_id, event_time, user_id and event_type, which every event must have"),
  nullable: pointers.default([]).describe("fields that may be null; all others may only be left out"),
  fields: z.record(pointer, typedFieldRule).default({}),
  measure: pointer.optional().describe("the number that becomes the column value"),
  unknownFields: unknownFields
    .default("keep")
    .describe(
      "members of the event and of properties that the type does not declare: kept, kept with the warning rule.unknown_field, or rejected",
    ),
  upcast: z
    .strictObject({
      rename: z.record(pointer, pointer).default({}).describe("from the field of this version to that of the next"),
      default: z
        .record(pointer, z.union([z.string(), z.number(), z.boolean(), z.null()]))
        .default({})
        .describe("what the next version has where this one has nothing"),
    })
    .optional()
    .describe("how an event of this version becomes one of the next version; newest ones have none"),
});

export const eventType = z.strictObject({ name, schemaVersion: schemaVersion.default(1), ...eventTypeSchema.shape });

const validationConfig = z.strictObject({
  eventTypes: z.union([z.literal("*"), z.array(name).min(1).max(MAX_TYPES)]).describe("all event types, or these"),
  schemaVersions: z.array(schemaVersion).min(1).max(100).optional().describe("only these versions of them; default all"),
  sources: z.array(name).min(1).max(100).optional().describe("only events from these sources; default all"),
  required: pointers.default([]).describe("fields that must be there and, unless named in nullable, not null"),
  nullable: pointers.default([]),
  fields: z.record(pointer, looseFieldRule).default({}),
  unknownFields: unknownFields.optional().describe("the stricter of this and what the type says counts"),
  measure: pointer.optional().describe("for types that have none"),
});

export const rule = z.strictObject({ name: z.string().min(1).max(128), priority: z.int().default(100), ...validationConfig.shape });
export const source = z.strictObject({ name, historical: z.boolean().default(false) });

export const release = z.strictObject({
  version: z.int().min(1),
  eventTypes: z.array(eventType).min(1).max(MAX_TYPES),
  sources: z.array(source).max(1_000),
  rules: z.array(rule).max(MAX_RULES).default([]).describe("rules of type validation, which tighten event types, in ascending priority"),
});

export type Release = z.output<typeof release>;
export type ReleaseInput = z.input<typeof release>;
export type EventTypeRule = Release["eventTypes"][number];
export type ValidationRule = Release["rules"][number];

/** What PostgreSQL holds and what is published, for editors and other programs; docs/schemas/rules-release.schema.json is this. */
export function rulesJsonSchema(): object {
  const definition = (schema: z.ZodType): object => {
    const { $schema: _, ...body } = z.toJSONSchema(schema, { io: "input" });
    return body;
  };
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "weir rules",
    description: "A release of the rules; $defs has the JSON of event_types.schema and of processing_rules.config (rule_type validation)",
    ...definition(release),
    $defs: { eventTypeSchema: definition(eventTypeSchema), validationConfig: definition(validationConfig) },
  };
}

export function titleOfType(type: { readonly name: string; readonly schemaVersion: number }): string {
  return `event type ${type.name} v${type.schemaVersion}`;
}
