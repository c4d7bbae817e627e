import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

function trackedFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" });
  return listed.split("\n").filter((file) => file !== "" && !file.endsWith("package-lock.json"));
}

function textOf(file: string): string {
  try {
    return readFileSync(join(ROOT, file), "utf8");
  } catch {
    return "";
  }
}

/** The complaint about one file, or nothing. Pure, so that the canaries below can call it. */
function complaintsAbout(file: string, text: string): string[] {
  const complaints: string[] = [];
  const source = /\.(ts|mjs|js|sh)$/.test(file);
  if (/(^|[\s"'`=(])\/(home|root|Users)\/[a-z]/m.test(text)) complaints.push(`${file}: absolute path of a machine`);
  if (/registry\.npmjs|repo1?\.maven|files\.pythonhosted/.test(text)) complaints.push(`${file}: registry host name`);
  if (source && !file.startsWith("test/") && text.split("\n").length > 420) complaints.push(`${file}: more than 420 lines, two nouns`);
  if (/(^|\/)(utils?|helpers?|common|misc)(\/|\.)/.test(file)) complaints.push(`${file}: a name that says nothing`);
  if (source && !file.startsWith("shared/config/") && !file.startsWith("test/") && /process\.env\b/.test(text))
    complaints.push(`${file}: reads process.env`);
  if (
    /^processor\/(model|time|windowing|state|operators|fold)\//.test(file) &&
    /Date\.now|new Date|Math\.random|performance\.now|setTimeout/.test(text)
  ) {
    complaints.push(`${file}: clock or chance inside the fold`);
  }
  if (source && /\b(it|test|describe)\.(only|todo)\b/.test(text) && file !== "test/static/tree.test.ts")
    complaints.push(`${file}: unfinished test`);
  return complaints;
}

describe("the tree", () => {
  test("keeps the rules that a reader can see at a glance", () => {
    const files = trackedFiles().filter((file) => file !== "test/static/tree.test.ts");
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap((file) => complaintsAbout(file, textOf(file)))).toEqual([]);
  });

  test.each([
    ["shared/a.ts", `open("/home/someone/x")`],
    ["docs/a.md", "from registry.npmjs.org"],
    ["shared/a.ts", "\n".repeat(500)],
    ["shared/utils.ts", ""],
    ["sinks/a.ts", "process.env.HOME"],
    ["processor/fold/a.ts", "Date.now()"],
    ["test/unit/a.test.ts", "test.only('x')"],
  ])("complains about %s holding %j", (file, text) => {
    expect(complaintsAbout(file, text)).toHaveLength(1);
  });

  test("README is at most 160 lines", () => {
    expect(textOf("README.md").split("\n").length).toBeLessThanOrEqual(161);
  });
});
