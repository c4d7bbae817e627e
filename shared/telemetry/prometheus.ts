/**
 * Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats/) from the catalogue's names: `WatermarkLagSeconds` is
 * `weir_watermark_lag_seconds`, counts end in `_total`, and milliseconds become seconds, as its naming rules want base units.
 */
import { type HistogramReading, octavesMs } from "./histogram.ts";
import { type Metric, type MetricName, METRICS } from "./metrics-catalogue.ts";
import type { Series } from "./series.ts";

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const TYPES = { count: "counter", gauge: "gauge", sample: "histogram" } as const;

export function prometheusName(name: MetricName): string {
  const { kind, unit }: Metric = METRICS[name];
  const base = unit === "Milliseconds" ? name.replace(/Ms$/, "Seconds") : name;
  const words = base.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
  return `weir_${words}${kind === "count" ? "_total" : ""}`;
}

/** `common` stands on every series. Series of one metric come together, in the order of the first. */
export function prometheusText(series: readonly Series[], common: Readonly<Record<string, string>>): string {
  const families = new Map<MetricName, Series[]>();
  for (const one of series) {
    const family = families.get(one.name);
    if (family === undefined) families.set(one.name, [one]);
    else family.push(one);
  }
  const lines: string[] = [];
  for (const [name, members] of families) {
    const metric: Metric = METRICS[name];
    const family = prometheusName(name);
    lines.push(
      `# HELP ${family} ${metric.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
      `# TYPE ${family} ${TYPES[metric.kind]}`,
    );
    const scale = metric.unit === "Milliseconds" ? 1_000 : 1;
    for (const { labels, value } of members) {
      const all = { ...common, ...labels };
      if (typeof value === "number") lines.push(`${family}${labelText(all)} ${numberText(value / scale)}`);
      else lines.push(...histogramLines(family, all, value));
    }
  }
  return `${lines.join("\n")}\n`;
}

function histogramLines(family: string, labels: Readonly<Record<string, string>>, reading: HistogramReading): string[] {
  return [
    ...octavesMs(reading).map(([bound, seen]) => `${family}_bucket${labelText({ ...labels, le: String(bound / 1_000) })} ${seen}`),
    `${family}_bucket${labelText({ ...labels, le: "+Inf" })} ${reading.count}`,
    `${family}_sum${labelText(labels)} ${numberText(reading.sumMs / 1_000)}`,
    `${family}_count${labelText(labels)} ${reading.count}`,
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"')}"`,
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}
