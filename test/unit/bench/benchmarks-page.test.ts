import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Measured, saveSection } from "#test/bench/benchmarks-page.ts";

let dir: string;
let page: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "weir-page-"));
  page = join(dir, "BENCHMARKS.md");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function measured(name: Measured["name"], nsPerEvent: number, loadBefore = 0.1): Measured {
  return {
    name,
    result: { name, ns_per_event: nsPerEvent, reference_ns_per_event: 10 * nsPerEvent },
    machine: { cpu: "Some CPU", cores: 2, memory_gib: 8, os: "Linux 6.1", node: "v24.0.0" },
    loadBefore,
    loadAfter: 1,
    command: `npm run bench -- ${name}`,
    date: "2026-01-02",
  };
}

test("a section says machine, load, date and command", () => {
  saveSection(measured("fold", 500), page);
  const text = readFileSync(page, "utf8");
  expect(text).toContain("Some CPU, 2 cores, 8 GiB, Linux 6.1, Node v24.0.0; load average 0.10 before, 1.00 after.");
  expect(text).toContain("- 2026-01-02, `npm run bench -- fold`");
  expect(text).toMatch(/\| fold +\| +500 ns \| +5,000 ns \| +10x \|/);
});

test("a busy machine is named beside its numbers", () => {
  saveSection(measured("fold", 500, 7), page);
  expect(readFileSync(page, "utf8")).toContain("load average 7.00 before, 1.00 after: the machine was busy");
});

test("a new measurement replaces its own section and no other, in the order of the list, and saving again changes nothing", () => {
  saveSection(measured("fold", 500), page);
  saveSection(measured("validator", 1_000), page);
  saveSection(measured("fold", 400), page);
  const text = readFileSync(page, "utf8");
  expect(text.match(/^## .*$/gm)).toEqual(["## validator", "## fold"]);
  expect(text).toContain("400 ns");
  expect(text).not.toContain("500 ns");
  saveSection(measured("fold", 400), page);
  expect(readFileSync(page, "utf8")).toBe(text);
});
