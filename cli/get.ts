/** One value by its name, as API and dashboard read it: from Redis, from ClickHouse where Redis has none. */
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import { type Access, ALL_SOURCES } from "#shared/read/access.ts";
import type { Answer, WindowKind } from "#shared/read/answer.ts";
import { Reader } from "#shared/read/reader.ts";
import { type Command, EXIT, parseOptions, printable, table, UsageError } from "./command.ts";
import { findPipeline } from "./pipeline.ts";

type Lookup = (reader: Reader, access: Access) => Promise<Answer<object>>;

export const command: Command = {
  summary: "one user, session, window, event or metric, with where the answer is from",
  help: `usage: weir get user ID | session ID | event UUID | metric NAME | window KIND USER START  [--source A,B] [--json] [--lane NAME] [--data-dir DIR]

Asks Redis, and ClickHouse for what is not there. Says from which, as of when, and whether the value can still change. Exit code 3: there is none.

  --source A,B  as a caller who may see these sources only: everything is computed from their events
  KIND          ${WINDOW_KINDS.join(", ")}
  START         as 2026-11-24T10:05:00Z
  NAME          of the newest closed minute, as quality.completeness or events:web (docs/QUALITY.md, docs/API.md)

examples:
  weir get user 42
  weir get window tumbling_1h 42 2026-11-24T10:00:00Z --source web --json
`,
  async run({ args, out, err }) {
    const { values, positionals } = parseOptions(args, { source: { type: "string", multiple: true } });
    const lookUp = lookupOf(positionals);
    const sources = values.source?.flatMap((list) => list.split(",")).filter((source) => source !== "");
    const access: Access = sources === undefined ? ALL_SOURCES : { sources: new Set(sources) };
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const reader = new Reader(config);
    try {
      const answer = await lookUp(reader, access);
      if (values.json === true) out(`${JSON.stringify(answer)}\n`);
      else show(answer, { out, err });
      return answer.value === null ? EXIT.checkFailed : EXIT.ok;
    } finally {
      await reader.close();
    }
  },
};

/** @throws UsageError */
function lookupOf([kind = "", ...rest]: readonly string[]): Lookup {
  const [first, second, third] = rest;
  if (first !== undefined && rest.length === 1) {
    if (kind === "user") return (reader, access) => reader.user(first, access);
    if (kind === "session") return (reader, access) => reader.session(first, access);
    if (kind === "event") return (reader, access) => reader.event(first, access);
    if (kind === "metric") return (reader, access) => reader.metric(first, access);
  }
  if (kind !== "window" || first === undefined || second === undefined || third === undefined || rest.length > 3)
    throw new UsageError("expected user ID, session ID, event UUID, metric NAME or window KIND USER START", "weir get --help");
  const windowKind = WINDOW_KINDS.find((candidate) => candidate === first);
  if (windowKind === undefined) throw new UsageError(`${first}: must be one of ${WINDOW_KINDS.join(", ")}`, "weir get --help");
  const startMs = Date.parse(third);
  if (Number.isNaN(startMs)) throw new UsageError(`${third}: must be a time, such as 2026-11-24T10:05:00Z`, "weir get --help");
  return windowLookup(windowKind, second, startMs);
}

function windowLookup(kind: WindowKind, userId: string, startMs: number): Lookup {
  return (reader, access) => reader.window(kind, userId, startMs, access);
}

function show(
  { value, from, asOf, isFinal, notes }: Answer<object>,
  to: { out: (text: string) => void; err: (text: string) => void },
): void {
  for (const note of notes) to.err(`note: ${note}\n`);
  if (value === null) {
    to.err("there is none\n");
    return;
  }
  to.out(table(rowsOf(value, "")));
  const row = asOf.row === null ? "" : `, row ${asOf.row} of partition ${asOf.partition}`;
  to.err(`from ${from}, as of ${new Date(asOf.timeMs).toISOString()}${row}; ${isFinal ? "final" : "can still change"}\n`);
}

/** Times as a person reads them; what is nested with its path. */
function rowsOf(value: object, path: string): [name: string, text: string][] {
  return Object.entries(value).flatMap(([name, content]: [string, unknown]) => {
    if (typeof content === "object" && content !== null) return rowsOf(content, `${path}${name}.`);
    const isTime = name.endsWith("Ms") && typeof content === "number";
    const plain = typeof content === "string" ? content : JSON.stringify(content);
    const text = isTime ? new Date(content).toISOString() : content === null ? "-" : plain;
    return [[`${path}${isTime ? name.slice(0, -2) : name}`, printable(text)]];
  });
}
