/** Results as tables, the same for the terminal and for docs/BENCHMARKS.md. */
import type { Bench, BenchResult, Row } from "./catalog.ts";

type Cells = readonly string[];

/** Header and rows: what, weir, reference, ratio. Above 1 is better than the reference. */
export function resultTable(bench: Bench, result: BenchResult): readonly Cells[] {
  const head = bench.reference === null ? ["", "weir"] : ["", "weir", "reference", "ratio"];
  const rows = bench.rows.map((row) => {
    const value = result[row.key];
    const cells = [row.label, withUnit(value, row)];
    if (bench.reference === null) return cells;
    const reference = row.reference === undefined ? undefined : result[row.reference];
    return [...cells, reference === undefined ? "" : withUnit(reference, row), ratio(value, reference, row)];
  });
  return [head, ...rows];
}

/** `cases` and other lists and records of the result, each as a table of its own. */
export function detailTables(result: BenchResult): readonly (readonly Cells[])[] {
  return Object.entries(result).flatMap(([key, value]) => {
    if (key === "machine" || typeof value !== "object" || value === null) return [];
    if (Array.isArray(value)) {
      const rows = value as readonly Readonly<Record<string, unknown>>[];
      const names = Object.keys(rows[0] ?? {});
      return [[names, ...rows.map((row) => names.map((name) => grouped(row[name])))]];
    }
    return [
      [
        [key, ...Object.keys(value)],
        ["", ...Object.values(value).map(grouped)],
      ],
    ];
  });
}

export function plainTable(rows: readonly Cells[]): string {
  const widths = columnWidths(rows);
  return rows
    .map((row) => `  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ")}`.trimEnd())
    .join("\n");
}

export function markdownTable(rows: readonly Cells[]): string {
  const widths = columnWidths(rows).map((width) => Math.max(3, width));
  const line = (cells: Cells): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join("\n");
}

function columnWidths(rows: readonly Cells[]): number[] {
  return rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
}

function withUnit(value: unknown, { unit }: Row): string {
  if (typeof value === "boolean") return value ? "yes" : "NO";
  return `${grouped(value)} ${unit}`.trimEnd();
}

function ratio(value: unknown, reference: unknown, { unit }: Row): string {
  if (typeof value !== "number" || typeof reference !== "number") return "";
  const better = unit === "events/s" ? value / reference : reference / value;
  return `${better.toFixed(better < 10 ? 1 : 0)}x`;
}

function grouped(value: unknown): string {
  return typeof value === "number" ? value.toLocaleString("en-US") : JSON.stringify(value ?? "");
}
