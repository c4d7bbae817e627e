/** Prometheus' text format 0.0.4, read strictly: what its scraper refuses, this refuses. */
const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const SAMPLE = new RegExp(`^(${NAME})(?:\\{((?:[a-zA-Z_]\\w*="(?:[^"\\\\\\n]|\\\\["\\\\n])*",?)*)\\})? (NaN|[+-]Inf|[-+0-9.eE]+)$`);

interface PrometheusSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface PrometheusFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: PrometheusSample[];
}

/** @throws on anything that is not the format, a repeated series and a family that is not in one piece. */
export function parsePrometheus(text: string): Map<string, PrometheusFamily> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, PrometheusFamily>();
  const seen = new Set<string>();
  let help: readonly [name: string, text: string] | undefined;
  let current: PrometheusFamily | undefined;
  let currentName = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const [, comment, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (comment === "HELP") help = [name, rest];
    else if (comment === "TYPE") {
      if (families.has(name)) throw new Error(`${name} comes twice`);
      if (help?.[0] !== name) throw new Error(`${name} has no help`);
      current = { type: rest, help: help[1], samples: [] };
      currentName = name;
      families.set(name, current);
    } else {
      const [, sampleName, labelText = "", value] = SAMPLE.exec(line) ?? [];
      if (sampleName === undefined || current === undefined) throw new Error(`not a sample: ${line}`);
      const suffixes = current.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
      if (!suffixes.some((suffix) => sampleName === currentName + suffix)) throw new Error(`${sampleName} stands among ${currentName}`);
      const series = line.slice(0, line.lastIndexOf(" "));
      if (seen.has(series)) throw new Error(`${series} comes twice`);
      seen.add(series);
      current.samples.push({ name: sampleName, labels: labelsOf(labelText), value: Number(value!.replace("Inf", "Infinity")) });
    }
  }
  return families;
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name = "", value = ""] of text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    if (name in labels) throw new Error(`label ${name} comes twice`);
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
  }
  return labels;
}
