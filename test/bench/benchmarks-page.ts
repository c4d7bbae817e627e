/** docs/BENCHMARKS.md: one section per bench, each with the machine, the date and the command it comes from. Written by command, never by hand. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "#local/services/parts.ts";
import { BENCH_NAMES, BENCHES, type BenchName, type BenchResult } from "./catalog.ts";
import type { Machine } from "./machine.ts";
import { detailTables, markdownTable, resultTable } from "./tables.ts";

export const PAGE = "docs/BENCHMARKS.md";

const HEAD = `# Benchmarks

Written by \`npm run bench -- report\`, or one section by \`npm run bench -- NAME --save\`; not by hand. Each section says on which machine, under
which load and by which command it was measured. A ratio compares with the reference case of the same run, so that it survives a change of machine
better than a number does; above 1 is better. ns are per event.
`;

export interface Measured {
  readonly name: BenchName;
  readonly result: BenchResult;
  readonly machine: Machine;
  readonly loadBefore: number;
  readonly loadAfter: number;
  readonly command: string;
  readonly date: string;
}

/** Replaces the bench's section and keeps the others. */
export function saveSection(measured: Measured, path: string = join(ROOT, PAGE)): void {
  const sections = existsSync(path) ? parseSections(readFileSync(path, "utf8")) : new Map<string, string>();
  sections.set(measured.name, section(measured));
  const kept = BENCH_NAMES.flatMap((name) => sections.get(name) ?? []);
  writeFileSync(path, [HEAD, ...kept].join("\n"));
}

export function loadLine({ machine, loadBefore, loadAfter }: Measured): string {
  const busy = loadBefore > machine.cores ? ": the machine was busy, on a quiet one the numbers are better" : "";
  return `load average ${loadBefore.toFixed(2)} before, ${loadAfter.toFixed(2)} after${busy}`;
}

export function machineLine({ cpu, cores, memory_gib: memory, os, node }: Machine): string {
  return `${cpu}, ${cores} cores, ${memory} GiB, ${os}, Node ${node}`;
}

function section(measured: Measured): string {
  const { name, result, machine, command, date } = measured;
  const bench = BENCHES[name];
  const tables = [resultTable(bench, result), ...detailTables(result)].map(markdownTable);
  return `## ${name}

${capital(bench.title)}.

${tables.join("\n\n")}

- Reference: ${bench.reference ?? "none"}.
- Not measured: ${bench.notMeasured}.
- Machine: ${machineLine(machine)}; ${loadLine(measured)}.
- ${date}, \`${command}\`
`;
}

function parseSections(page: string): Map<string, string> {
  const [, ...parts] = page.split(/^(?=## )/m);
  return new Map(parts.map((part) => [/^## (\S+)/.exec(part)?.[1] ?? "", part.trimEnd() + "\n"]));
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
