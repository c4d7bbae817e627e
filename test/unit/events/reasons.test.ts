import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { REASON_CODES, REASONS } from "#shared/events/reasons.ts";
import { reasonsPage } from "#test/support/reasons-page.ts";
import { REASON_TEXTS, reasonText } from "../../../dashboard/server/reason-texts.ts";
import { HOSTILE_ROWS } from "../validator/hostile-input-rows.ts";

const ROOT = new URL("../../../", import.meta.url);

/** Codes that no row of the table of hostile inputs has, and the test whose words show them. */
const SHOWN_BY: Readonly<Record<string, readonly [file: string, words: string]>> = {
  "value.base64": ["test/unit/validator/invocation.test.ts", '"value.base64"'],
  "schema.null": ["test/unit/validator/rules.test.ts", "reject schema.null"],
  "schema.enum": ["test/unit/validator/rules.test.ts", "reject schema.enum"],
  "schema.length": ["test/unit/validator/rules.test.ts", "reject schema.length"],
  "schema.pattern": ["test/unit/validator/rule-reasons.test.ts", "schema.pattern"],
  "schema.unknown_field": ["test/unit/validator/rules.test.ts", "reject schema.unknown_field"],
  "rule.flag": ["test/unit/validator/rules.test.ts", "rule.flag"],
  "rule.unknown_field": ["test/unit/validator/rule-reasons.test.ts", "rule.unknown_field"],
  "id.conflict": ["test/unit/processor/fold-golden.test.ts", '"id.conflict"'],
  duplicate: ["test/unit/processor/fold-golden.test.ts", "as a duplicate"],
  late: ["test/unit/processor/fold-golden.test.ts", "late"],
};

/** Codes that no test shows yet. A code leaves this list when something gives it. */
const RESERVED: readonly string[] = ["anomaly.score", "anomaly.reject"];

describe("a reason code", () => {
  it.each(REASON_CODES)("%s has a severity, a stage and a text of one line", (code) => {
    const { severity, stage, text } = REASONS[code];
    expect(["error", "warning", "info"]).toContain(severity);
    expect(stage).toMatch(/^[a-z]+$/);
    expect(text).toMatch(/^[^\n|]{10,160}$/);
    expect(code).toMatch(/^[a-z_]+(\.[a-z0-9_]+)?$/);
  });

  it("is shown by a row of the hostile inputs or by a named test, unless it is reserved", () => {
    const inTable = new Set(HOSTILE_ROWS.map(([, , , expected]) => expected.replace("warning:", "")));
    const unshown = REASON_CODES.filter((code) => !inTable.has(code) && !Object.hasOwn(SHOWN_BY, code));
    expect(unshown).toEqual(RESERVED);
    expect(Object.keys(SHOWN_BY).filter((code) => inTable.has(code) || !Object.hasOwn(REASONS, code))).toEqual([]);
  });

  it.each(Object.entries(SHOWN_BY))("%s is in the test that is named for it", (_code, [file, words]) => {
    expect(existsSync(new URL(file, ROOT)), file).toBe(true);
    expect(readFileSync(new URL(file, ROOT), "utf8")).toContain(words);
  });
});

describe("code, page and status page have one list", () => {
  it("docs/REASONS.md is what the code says", async () => {
    await expect(reasonsPage()).toMatchFileSnapshot("../../../docs/REASONS.md");
  });

  it("docs/REASONS.md has every code once and no other", () => {
    const page = readFileSync(new URL("docs/REASONS.md", ROOT), "utf8");
    expect([...page.matchAll(/^\| `([^`]+)`/gm)].map(([, code]) => code)).toEqual(REASON_CODES);
  });

  it("the status page has every code with its severity and text, and no other", () => {
    expect([...REASON_TEXTS.keys()]).toEqual(REASON_CODES);
    for (const code of REASON_CODES) expect(reasonText(code)).toEqual({ severity: REASONS[code].severity, meaning: REASONS[code].text });
    expect(reasonText("toString").meaning).toContain("does not know");
    const page = readFileSync(new URL("dashboard/web/page.js", ROOT), "utf8");
    expect(page).toContain("row.meaning");
  });
});
