/** `weir dlq stats`, `ls` and `show`: looking, nothing else. */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { topicName } from "#shared/events/names.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, printable, table, UsageError } from "../command.ts";
import { findPipeline, withKafka } from "../pipeline.ts";
import { eventIdOf, FILTER_OPTIONS, type LetterFilter, matches, readFilter, userOf } from "./filter.ts";
import { type Letter, wholeRecord } from "./letter.ts";
import { layOut } from "./json-layout.ts";
import { letterRanges, readLetters } from "./letters.ts";
import { reasonText } from "./reason-advice.ts";

const AGES = [
  ["under 1 min", 60_000],
  ["under 10 min", 600_000],
  ["under 1 h", 3_600_000],
  ["under 6 h", 21_600_000],
  ["under 1 day", 86_400_000],
  ["under 7 days", 604_800_000],
  ["older", Number.POSITIVE_INFINITY],
] as const;

const HEX_BYTES_MAX = 4_096;

export async function stats({ args, out, stop }: CommandContext): Promise<ExitCode> {
  const { values } = parseOptions(args, FILTER_OPTIONS);
  const nowMs = Date.now();
  const filter = readFilter(values, nowMs);
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const reasons = new Map<string, number>();
  const sources = new Map<string, number>();
  const ages = new Map<string, number>(AGES.map(([name]) => [name, 0]));
  let total = 0;
  let replayed = 0;
  await withKafka(config, async (kafka) => {
    for await (const letter of lettersOf(kafka, config.lane, filter)) {
      if (stop.aborted) return;
      total++;
      if (letter.replays > 0) replayed++;
      count(reasons, letter.reason);
      count(sources, letter.source === null ? "unknown" : `${letter.source.topic}/${letter.source.partition}`);
      count(ages, AGES.find(([, limitMs]) => nowMs - letter.atMs < limitMs)![0]);
    }
  });
  if (stop.aborted) return EXIT.interrupted;
  if (values.json === true) {
    const content = {
      lane: config.lane,
      total,
      replayed,
      reasons: sorted(reasons),
      sources: sorted(sources),
      ages: Object.fromEntries(ages),
    };
    out(`${JSON.stringify(content)}\n`);
    return EXIT.ok;
  }
  out(`${total} dead letters in ${topicName(config.lane, "dlq")}, ${replayed} of them rejected again after a replay\n`);
  if (total === 0) return EXIT.ok;
  const shown = (title: string, counts: Readonly<Record<string, number>>): void =>
    out(`\n${table([[title, "letters"], ...Object.entries(counts).map(([name, letters]) => [printable(name), letters] as const)])}`);
  shown("reason", sorted(reasons));
  shown("source", sorted(sources));
  shown("age", Object.fromEntries([...ages].filter(([, letters]) => letters > 0)));
  return EXIT.ok;
}

export async function list({ args, out, outIsTerminal, stop }: CommandContext): Promise<ExitCode> {
  const { values } = parseOptions(args, { ...FILTER_OPTIONS, limit: { type: "string", short: "n", default: "50" } });
  const filter = readFilter(values, Date.now());
  const limit = numberOption("limit", values.limit, { from: 1, to: 1_000_000, whole: true })!;
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  let newest: Letter[] = [];
  const keep = (most: number): Letter[] => newest.toSorted((a, b) => a.atMs - b.atMs || a.offset - b.offset).slice(-most);
  await withKafka(config, async (kafka) => {
    for await (const letter of lettersOf(kafka, config.lane, filter)) {
      if (stop.aborted) return;
      newest.push(letter);
      if (newest.length >= 2 * limit + 1_000) newest = keep(limit);
    }
  });
  if (stop.aborted) return EXIT.interrupted;
  const letters = keep(limit);
  if (values.json === true || !outIsTerminal) {
    for (const letter of letters) out(`${JSON.stringify(summaryOf(letter))}\n`);
    return EXIT.ok;
  }
  const rows = letters.map((letter) => {
    const { at, letter: place, reason, pointer, user, eventId, replays } = summaryOf(letter);
    return [at, place, reason, pointer, user ?? "", eventId ?? "", replays].map((cell) =>
      typeof cell === "string" ? printable(cell) : cell,
    );
  });
  if (rows.length > 0) out(table([["at", "letter", "reason", "pointer", "user_id", "event_id", "replays"], ...rows]));
  return EXIT.ok;
}

/** Newest letters come last. */
function summaryOf(letter: Letter) {
  return {
    at: new Date(letter.atMs).toISOString(),
    letter: `${letter.partition}/${letter.offset}`,
    reason: letter.reason,
    pointer: letter.pointer,
    user: userOf(letter),
    eventId: eventIdOf(letter),
    source: letter.source === null ? null : `${letter.source.topic}/${letter.source.partition}/${letter.source.offset}`,
    replays: letter.replays,
  };
}

export async function show({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {});
  const [wanted] = positionals;
  if (wanted === undefined || positionals.length !== 1)
    throw new UsageError("one dead letter must be named, as PARTITION/OFFSET or by its event_id", "weir dlq ls");
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const found = await withKafka(config, async (kafka) => {
    const letters = await find(kafka, topicName(config.lane, "dlq"), wanted);
    return Promise.all(letters.map(async (letter) => ({ letter, whole: await wholeRecord(kafka, letter) })));
  });
  if (found.length === 0) {
    throw new UsageError(`${wanted}: there is no such dead letter in ${topicName(config.lane, "dlq")}`, "weir dlq ls");
  }
  for (const { letter, whole } of found) {
    if (values.json === true) {
      const { value, key, headers } = whole ?? letter;
      const content = {
        ...summaryOf(letter),
        ...reasonText(letter.reason),
        rulesVersion: letter.rulesVersion,
        replay: letter.replay,
        whole: whole !== null,
      };
      out(
        `${JSON.stringify({ ...content, key: base64(key), value: base64(value), headers: headers.map(([name, bytes]) => [name, base64(bytes)]) })}\n`,
      );
    } else out(describe(letter, whole));
  }
  return EXIT.ok;
}

async function find(kafka: Kafka, topic: string, wanted: string): Promise<Letter[]> {
  const [, partition, offset] = /^(\d+)\/(\d+)$/.exec(wanted) ?? [];
  const ranges = await letterRanges(kafka, topic);
  const found: Letter[] = [];
  if (partition !== undefined) {
    const range = ranges[Number(partition)];
    const from = Number(offset);
    if (range === undefined || from < range.from || from >= range.until) return [];
    for await (const letter of readLetters(kafka, topic, [{ ...range, from, until: from + 1 }])) found.push(letter);
    return found;
  }
  const id = wanted.toLowerCase();
  for await (const letter of readLetters(kafka, topic, ranges)) if (eventIdOf(letter)?.toLowerCase() === id) found.push(letter);
  return found;
}

function describe(letter: Letter, whole: Pick<Letter, "key" | "value" | "headers"> | null): string {
  const { at, reason, pointer, source } = summaryOf(letter);
  const { text, advice } = reasonText(letter.reason);
  const { key, value, headers } = whole ?? letter;
  const facts: [string, string][] = [
    ["letter", `${letter.partition}/${letter.offset}`],
    ["at", at],
    ["reason", reason],
    ["", text],
    ["pointer", pointer],
    ["what to do", advice],
    ["source", source ?? "unknown"],
    ["rules version", String(letter.rulesVersion)],
    ["replays", letter.replay === "" ? String(letter.replays) : `${letter.replays}, the last one ${letter.replay}`],
    ...(whole === null
      ? [["cut short", `${letter.truncated.join(", ")}: the whole record has expired in events.raw`] as [string, string]]
      : []),
    ...(whole === letter && letter.reencoded ? [["value", "written anew from columns, the original has expired"] as [string, string]] : []),
    ["key", key === null ? "(none)" : JSON.stringify(textOf(key) ?? Buffer.from(key).toString("hex"))],
    ...headers.map(([name, bytes]) => [`header ${name}`, textOf(bytes) ?? Buffer.from(bytes).toString("hex")] as [string, string]),
  ];
  const lines = table(facts.map(([name, fact]) => [printable(name), printable(fact)]));
  return `${lines}\n${value === null ? "(no value)" : body(value)}\n`;
}

/** JSON laid out, other text as it is, other bytes in hex. */
function body(value: Uint8Array): string {
  const text = textOf(value);
  if (text === undefined) return hexDump(value);
  try {
    // Numbers keep their digits: only white space between tokens is new.
    JSON.parse(text);
    return layOut(text).split("\n").map(printable).join("\n");
  } catch {
    return text.split("\n").map(printable).join("\n");
  }
}

function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, HEX_BYTES_MAX); at += 16) {
    const part = Buffer.from(bytes.subarray(at, at + 16));
    const hex = part.toString("hex").replace(/../g, "$& ").padEnd(48);
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex} ${part.toString("latin1").replace(/[^ -~]/g, ".")}`);
  }
  if (bytes.length > HEX_BYTES_MAX) lines.push(`… ${bytes.length} bytes in all: weir dlq export has them`);
  return lines.join("\n");
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function base64(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("base64");
}

async function* lettersOf(kafka: Kafka, lane: string, filter: LetterFilter): AsyncGenerator<Letter> {
  const topic = topicName(lane, "dlq");
  for await (const letter of readLetters(kafka, topic, await letterRanges(kafka, topic))) if (matches(filter, letter)) yield letter;
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)));
}
