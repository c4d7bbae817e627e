/**
 * A release of the rules: event types, sources and field rules, immutable under its version (docs/ARCHITECTURE.md). It comes from PostgreSQL,
 * is published as one JSON object and compiled once (compile.ts). Checked here, at the edge; a release that fails is refused whole.
 */
import { z } from "zod";
import { OperatingError } from "../kernel/errors.ts";
import { formatPointer, parsePointer, pointerProblem } from "./json-pointer.ts";

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

export const FIELD_TYPES = ["string", "integer", "number", "boolean", "object", "array", "any"] as const;

const name = z.string().regex(/^[a-z][a-z0-9_.-]{0,63}$/, "lower-case letters, digits, _ . -, at most 64 characters");

const pointer = z
  .string()
  .max(256)
  .superRefine((text, context) => {
    const problem = pointerProblem(text);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
  })
  .transform((text) => formatPointer(parsePointer(text)));

const fieldRule = z
  .strictObject({
    type: z.enum(FIELD_TYPES).default("any"),
    min: z.number().optional(),
    max: z.number().optional(),
    enum: z
      .array(z.union([z.string(), z.number()]))
      .min(1)
      .max(1_000)
      .optional(),
    /** In characters (code points) of the decoded string. */
    minLength: z.int().min(0).optional(),
    maxLength: z.int().min(0).optional(),
    /** What happens when range, enum or length do not hold; a wrong type always rejects. */
    action: z.enum(["reject", "flag"]).default("reject"),
  })
  .superRefine((rule, context) => {
    const problem = (message: string): void => context.addIssue({ code: "custom", message });
    const numeric = rule.type === "integer" || rule.type === "number";
    if ((rule.min !== undefined || rule.max !== undefined) && !numeric) problem("min and max need type integer or number");
    if ((rule.minLength !== undefined || rule.maxLength !== undefined) && rule.type !== "string")
      problem("minLength and maxLength need type string");
    if (rule.min !== undefined && rule.max !== undefined && rule.min > rule.max) problem(`min ${rule.min} is above max ${rule.max}`);
    if (rule.minLength !== undefined && rule.maxLength !== undefined && rule.minLength > rule.maxLength)
      problem("minLength is above maxLength");
    for (const value of rule.enum ?? []) {
      if (typeof value !== (numeric ? "number" : "string") && rule.type !== "any")
        problem(`enum value ${JSON.stringify(value)} is not of type ${rule.type}`);
    }
  });

const eventType = z.strictObject({
  name,
  schemaVersion: z.int().min(1).max(65_535).default(1),
  /** Beside event_id, event_time, user_id and event_type, which every event must have. */
  required: z.array(pointer).max(100).default([]),
  nullable: z.array(pointer).max(100).default([]),
  /** By JSON pointer (`/properties/amount`); a plain name is a top-level field. */
  fields: z.record(pointer, fieldRule).default({}),
  /** The number that becomes the column `value`. */
  measure: pointer.optional(),
  /** Undeclared members of the event and of `properties`. */
  unknownFields: z.enum(["keep", "reject"]).default("keep"),
});

const source = z.strictObject({ name, historical: z.boolean().default(false) });

const release = z
  .strictObject({
    version: z.int().min(1),
    eventTypes: z.array(eventType).min(1).max(1_000),
    sources: z.array(source).max(1_000),
  })
  .superRefine(({ eventTypes, sources }, context) => {
    const twice = (names: readonly string[], what: string): void => {
      const repeated = names.find((candidate, i) => names.indexOf(candidate) !== i);
      if (repeated !== undefined) context.addIssue({ code: "custom", message: `${what} ${repeated} is declared twice`, path: [] });
    };
    twice(
      eventTypes.map((type) => `${type.name} version ${type.schemaVersion}`),
      "event type",
    );
    twice(
      sources.map((candidate) => candidate.name),
      "source",
    );
    for (const [i, type] of eventTypes.entries()) {
      const measured = type.measure === undefined ? undefined : type.fields[type.measure];
      if (measured !== undefined && measured.type !== "number" && measured.type !== "integer") {
        context.addIssue({
          code: "custom",
          message: `${type.measure} must have type number or integer`,
          path: ["eventTypes", i, "measure"],
        });
      }
    }
  });

export type Release = z.output<typeof release>;
export type ReleaseInput = z.input<typeof release>;
export type EventTypeRule = Release["eventTypes"][number];
export type FieldRule = z.output<typeof fieldRule>;
export type FieldType = FieldRule["type"];

/** @throws OperatingError RULES_INVALID naming every problem. `origin` stands in the message. */
export function parseRelease(input: unknown, origin: string): Release {
  const parsed = release.safeParse(input);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${formatPointer(issue.path.map(String)) || "/"}: ${issue.message}`);
  throw new OperatingError(`rules ${origin} have ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${problems.join("\n")}`, {
    code: "RULES_INVALID",
  });
}
