/** What one field must be: the part that event types and processing rules have in common. */
import { z } from "zod";
import { formatPointer, parsePointer, pointerProblem } from "./json-pointer.ts";
import { compilePattern } from "./pattern.ts";

export const FIELD_TYPES = ["string", "integer", "number", "boolean", "object", "array", "any"] as const;
export type FieldType = (typeof FIELD_TYPES)[number];

const MAX_PATTERN_CHARACTERS = 500;

export const name = z.string().regex(/^[a-z][a-z0-9_.-]{0,63}$/, "lower-case letters, digits, _ . -, at most 64 characters");

export const pointer = z
  .string()
  .max(256)
  .superRefine((text, context) => {
    const problem = pointerProblem(text);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
  })
  .transform((text) => formatPointer(parsePointer(text)))
  .describe("RFC 6901 pointer to a field, such as /properties/amount, at most four levels deep; a plain name is a top-level field");

export const pointers = z.array(pointer).max(100);

const fieldRule = z.strictObject({
  type: z.enum(FIELD_TYPES).optional().describe("a value of another type always rejects; default any"),
  min: z.number().optional(),
  max: z.number().optional(),
  enum: z
    .array(z.union([z.string(), z.number()]))
    .min(1)
    .max(1_000)
    .optional(),
  minLength: z.int().min(0).optional().describe("in characters (code points) of the decoded string"),
  maxLength: z.int().min(0).optional(),
  pattern: z
    .string()
    .max(MAX_PATTERN_CHARACTERS)
    .superRefine((text, context) => {
      const compiled = compilePattern(text);
      if ("problem" in compiled) context.addIssue({ code: "custom", message: `pattern ${JSON.stringify(text)}: ${compiled.problem}` });
    })
    .optional()
    .describe("a regular expression in linear time that the whole decoded string must match; see docs/RULES.md for the language"),
  action: z
    .enum(["reject", "flag"])
    .default("reject")
    .describe("what happens when range, enum, length or pattern do not hold: a dead letter, or kept with the warning rule.flag"),
});

export type FieldRule = z.output<typeof fieldRule>;

/** In an event type, where the type of a field is known. */
export const typedFieldRule = fieldRule
  .transform((rule) => ({ ...rule, type: rule.type ?? ("any" as const) }))
  .superRefine((rule, context) => {
    for (const message of fieldRuleProblems(rule, rule.type)) context.addIssue({ code: "custom", message });
  });

/** In a processing rule, where it comes from the event type unless the rule names one. */
export const looseFieldRule = fieldRule;

export function isNumeric(type: FieldType): boolean {
  return type === "integer" || type === "number";
}

/** Of one rule by itself, on a field that has `type`. */
export function fieldRuleProblems(rule: FieldRule, type: FieldType): string[] {
  const problems: string[] = [];
  const { min, max, minLength, maxLength, pattern } = rule;
  if ((min !== undefined || max !== undefined) && !isNumeric(type)) problems.push("min and max need type integer or number");
  if ((minLength !== undefined || maxLength !== undefined || pattern !== undefined) && type !== "string")
    problems.push(`${pattern === undefined ? "minLength and maxLength" : "minLength, maxLength and pattern"} need type string`);
  if (min !== undefined && max !== undefined && min > max) problems.push(`min ${min} is above max ${max}`);
  if (minLength !== undefined && maxLength !== undefined && minLength > maxLength)
    problems.push(`minLength ${minLength} is above maxLength ${maxLength}`);
  for (const value of rule.enum ?? []) {
    const fits = type === "any" || typeof value === (isNumeric(type) ? "number" : type === "string" ? "string" : "nothing");
    if (!fits) problems.push(`enum value ${JSON.stringify(value)} is not of type ${type}`);
  }
  return problems;
}
