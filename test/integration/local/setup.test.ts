import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../../..");
/** What every Linux has; no Java, Maven, Python or npm among it. */
const BASIC_TOOLS = [
  "sh",
  "uname",
  "cat",
  "mkdir",
  "cksum",
  "sed",
  "head",
  "tail",
  "ln",
  "rm",
  "touch",
  "readlink",
  "dirname",
  "find",
  "flock",
  "mv",
  "chmod",
];

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-setup-"));
  for (const file of ["local/setup.sh", "local/services/kafka", "package.json", "package-lock.json"]) {
    cpSync(join(ROOT, file), join(folder, file), { recursive: true });
  }
  mkdirSync(join(folder, "bin"));
  for (const tool of BASIC_TOOLS) {
    const path = ["/usr/bin", "/bin"].map((dir) => join(dir, tool)).find((candidate) => existsSync(candidate));
    if (path !== undefined) symlinkSync(path, join(folder, "bin", tool));
  }
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function setUp(root: string, path: string): { status: number | null; stderr: string; tookMs: number } {
  const startedAt = performance.now();
  const { status, stderr } = spawnSync("/bin/sh", [join(root, "local/setup.sh")], {
    env: { PATH: path },
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, stderr, tookMs: performance.now() - startedAt };
}

describe("setup", () => {
  it("names every missing tool at once, with what it is for and the command that brings it, and exits 4", () => {
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    utimesSync(join(folder, "package-lock.json"), 0, 0);
    const { status, stderr, tookMs } = setUp(folder, join(folder, "bin"));
    expect(stderr.split("\n")).toEqual([
      "weir: mvn is missing: it fetches Kafka's jars",
      "  fix: apt-get install --yes maven",
      "weir: python3 is missing: it fetches a Java, as the system has none of 17 or newer, and Valkey, as the system has no Redis",
      "  fix: apt-get install --yes python3 python3-pip",
      "",
    ]);
    expect(status).toBe(4);
    expect(tookMs).toBeLessThan(5_000);
  });

  it("names npm when there are no packages and no npm", () => {
    const { status, stderr } = setUp(folder, join(folder, "bin"));
    expect(stderr).toBe("weir: npm is missing: it installs the dependencies\n  fix: apt-get install --yes npm\n");
    expect(status).toBe(4);
  });

  it("says and does nothing on a machine that has everything", () => {
    expect(setUp(ROOT, "/usr/bin:/bin").status).toBe(0);
    expect(setUp(ROOT, "/usr/bin:/bin")).toMatchObject({ status: 0, stderr: "" });
  });
});
