import { createReadStream } from "node:fs";
import { limitsOf } from "#functions/validator/scanner/limits.ts";
import { createValidator, type Validator } from "#functions/validator/scanner/validator.ts";
import { loadConfig } from "#shared/config/config.ts";
import { type EventColumns, VERDICT } from "#shared/events/columns.ts";
import { toError } from "#shared/kernel/errors.ts";
import type { Plan } from "#shared/rules/plan.ts";
import { LineCutter } from "./check-lines.ts";
import { loadPlan } from "./check-rules.ts";
import { type Command, type CommandContext, EXIT, parseOptions, table, UsageError } from "./command.ts";

const CHUNK_BYTES = 1 << 20;
/** Verdicts are taken out of the validator's block after so many lines or bytes. */
const BLOCK_ROWS = 8_192;
const BLOCK_BYTES = 1 << 20;
const OUT_CHARACTERS = 1 << 16;
/** No time of a record to compare with: {@link Validator.add}. */
const NO_TIME = -1;

export const command: Command = {
  summary: "validate JSON lines offline, one verdict per line",
  help: `usage: weir check FILE|- [options]

What the validator would say of each line, by the same code and the same rules, without a pipeline. One line out per line in, in order: ok,
or ok flag CODE [POINTER], or reject CODE [POINTER]. A summary goes to stderr. Exit 0 when no line is rejected, 3 otherwise.

  --rules FILE    a rules release (default: the one published in the data folder, else the one that comes with weir)
  --at TIME       the time at which the events count as produced, for the checks of age and skew: RFC 3339, now (default), or none = not checked
  --quiet         the summary only
  --json          one JSON object per line; with --quiet the summary as one
  --data-dir DIR

examples:
  weir check events.jsonl --quiet
  weir check - --rules release.json --at none < recorded.jsonl
`,
  async run(context) {
    const { values, positionals } = parseOptions(context.args, {
      rules: { type: "string" },
      at: { type: "string", default: "now" },
      quiet: { type: "boolean", default: false },
    });
    const [file] = positionals;
    if (file === undefined || positionals.length !== 1)
      throw new UsageError("one FILE must be named, - is stdin", "weir check events.jsonl");
    const config = loadConfig();
    const atMs = timeOf(values.at);
    const limits = { ...limitsOf(config), checkKey: false };
    const plan = await loadPlan(config, { rulesFile: values.rules, dataDir: values["data-dir"] });
    const checker = new LineChecker(createValidator(plan, limits), {
      atMs,
      write: values.quiet ? undefined : context.out,
      asJson: values.json === true,
    });
    const cutter = new LineCutter(limits.eventBytes, (bytes, start, end) => checker.add(bytes, start, end));
    try {
      for await (const chunk of inputOf(file, context)) {
        cutter.add(chunk);
        if (context.stop.aborted) return EXIT.interrupted;
      }
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).syscall === undefined) throw thrown;
      throw new UsageError(`${file}: ${toError(thrown).message}`);
    }
    cutter.end();
    checker.flush();
    const { lines, ok, flagged, rejected, codes } = checker.counts;
    if (values.quiet && values.json === true) {
      const counts = { rulesVersion: plan.version, lines, ok, flagged, rejected, codes: Object.fromEntries(codes) };
      context.out(`${JSON.stringify(counts)}\n`);
    } else context.err(summaryOf(checker.counts, plan));
    return rejected === 0 ? EXIT.ok : EXIT.checkFailed;
  },
};

interface LineCounts {
  lines: number;
  ok: number;
  flagged: number;
  rejected: number;
  /** By reason code, of flags and rejects. */
  readonly codes: Map<string, number>;
}

class LineChecker {
  readonly counts: LineCounts = { lines: 0, ok: 0, flagged: 0, rejected: 0, codes: new Map() };
  readonly #validator: Validator;
  readonly #atMs: number;
  readonly #write: ((text: string) => void) | undefined;
  readonly #asJson: boolean;
  #out = "";

  constructor(
    validator: Validator,
    options: { readonly atMs: number; readonly write: ((text: string) => void) | undefined; readonly asJson: boolean },
  ) {
    this.#validator = validator;
    this.#atMs = options.atMs;
    this.#write = options.write;
    this.#asJson = options.asJson;
    validator.begin();
  }

  add(bytes: Uint8Array, start: number, end: number): void {
    const validator = this.#validator;
    validator.add(bytes, start, end, undefined, null, validator.rows, this.#atMs);
    if (validator.rows >= BLOCK_ROWS || validator.sizeBytes() >= BLOCK_BYTES) this.#settle();
  }

  /** Everything that was added has its verdict out. */
  flush(): void {
    this.#settle();
    if (this.#out !== "") this.#write?.(this.#out);
    this.#out = "";
  }

  #settle(): void {
    const columns = this.#validator.finish();
    for (let row = 0; row < columns.rows; row++) this.#row(columns, row);
    this.#validator.begin();
  }

  #row(columns: EventColumns, row: number): void {
    const { counts } = this;
    counts.lines++;
    const code = columns.reason.codes[row]!;
    const reason = code < 0 ? "" : columns.reason.values[code]!;
    const isReject = columns.verdict[row] === VERDICT.reject;
    // Asked for by --at none.
    const isFlag = columns.verdict[row] === VERDICT.warning && !(this.#atMs === NO_TIME && reason === "time.unchecked");
    if (isReject) counts.rejected++;
    else if (isFlag) counts.flagged++;
    else counts.ok++;
    if (isReject || isFlag) counts.codes.set(reason, (counts.codes.get(reason) ?? 0) + 1);
    if (this.#write === undefined) return;
    const pointer = isReject || isFlag ? pointerAt(columns, row) : "";
    const verdict = isReject ? "reject" : isFlag ? "flag" : "ok";
    if (this.#asJson) this.#out += `${JSON.stringify({ line: counts.lines, verdict, ...(verdict === "ok" ? {} : { reason, pointer }) })}\n`;
    else if (verdict === "ok") this.#out += "ok\n";
    // A pointer may hold what an event put into a key: quoted where it would not stay one word of one line.
    else this.#out += `${isFlag ? "ok flag" : "reject"} ${reason}${pointer === "" ? "" : ` ${oneWord(pointer)}`}\n`;
    if (this.#out.length >= OUT_CHARACTERS) {
      this.#write(this.#out);
      this.#out = "";
    }
  }
}

const decoder = new TextDecoder();

function pointerAt({ pointer }: EventColumns, row: number): string {
  const { offsets, bytes } = pointer;
  return offsets[row] === offsets[row + 1] ? "" : decoder.decode(bytes.subarray(offsets[row], offsets[row + 1]));
}

function oneWord(pointer: string): string {
  return /^[!-~]+$/.test(pointer) ? pointer : JSON.stringify(pointer);
}

function timeOf(text: string): number {
  if (text === "now") return Date.now();
  if (text === "none") return NO_TIME;
  const timeMs = /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/i.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(timeMs) || timeMs < 0)
    throw new UsageError(`--at: must be now, none or a time such as 2026-11-24T10:00:00Z, got ${JSON.stringify(text)}`);
  return timeMs;
}

function inputOf(file: string, { input }: CommandContext): AsyncIterable<Uint8Array> {
  return file === "-" ? input : createReadStream(file, { highWaterMark: CHUNK_BYTES });
}

function summaryOf({ lines, ok, flagged, rejected, codes }: LineCounts, plan: Plan): string {
  const rows = [...codes].sort(([, a], [, b]) => b - a).map(([code, count]) => ["", code, count]);
  const total = `${lines} lines by rules version ${plan.version}: ${ok} ok, ${flagged} flagged, ${rejected} rejected\n`;
  return rows.length === 0 ? total : `${total}${table(rows)}`;
}
