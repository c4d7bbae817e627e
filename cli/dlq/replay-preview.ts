/** What a replay would do, counted before it begins: by reason, by verdict, with three letters as they would go out. */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { printable, table } from "../command.ts";
import type { Change } from "./event-edit.ts";
import type { Letter } from "./letter.ts";
import { LEFT, type LeftBecause, type LetterJudge, MAX_REPLAYS, type Verdict } from "./letter-judge.ts";
import { type LetterRange, readLetters } from "./letters.ts";

const SAMPLES = 3;

export interface Sample {
  readonly letter: string;
  readonly reason: string;
  readonly pointer: string;
  readonly verdict: string;
  readonly changes: readonly Change[];
}

export interface Preview {
  /** Letters of events.dlq that were looked at, and those that the filter names. */
  looked: number;
  matching: number;
  sent: number;
  readonly left: Record<LeftBecause, number>;
  /** By the letters' reason. */
  readonly reasons: Map<string, { matching: number; sent: number }>;
  /** What the rules say now, of the letters as they would go out. */
  readonly verdicts: Map<string, number>;
  /** Sent letters whose event time is behind their partition's watermark: late when their window is closed. */
  behindWatermark: number;
  readonly samples: Sample[];
  /** Of the topic, up to the last letter sent when there is a limit. */
  ranges: readonly LetterRange[];
}

export interface PreviewOptions {
  readonly kafka: Kafka;
  readonly judge: LetterJudge;
  readonly dlqTopic: string;
  readonly ranges: readonly LetterRange[];
  readonly limit: number | null;
  /** By target partition; null or absent = not known. */
  readonly watermarksMs: readonly (number | null)[];
  readonly stop: AbortSignal;
}

export async function previewReplay({ kafka, judge, dlqTopic, ranges, limit, watermarksMs, stop }: PreviewOptions): Promise<Preview> {
  const preview: Preview = {
    looked: 0,
    matching: 0,
    sent: 0,
    left: { replayed: 0, refused: 0, uneditable: 0, truncated: 0, rejected: 0 },
    reasons: new Map(),
    verdicts: new Map(),
    behindWatermark: 0,
    samples: [],
    ranges,
  };
  for await (const letter of readLetters(kafka, dlqTopic, ranges)) {
    if (stop.aborted) break;
    preview.looked++;
    const judgement = await judge.judge(letter);
    if (judgement === null) continue;
    preview.matching++;
    const ofReason = preview.reasons.get(letter.reason) ?? { matching: 0, sent: 0 };
    preview.reasons.set(letter.reason, ofReason);
    ofReason.matching++;
    const { verdict } = judgement;
    if (verdict !== undefined) {
      const text = verdictText(verdict);
      preview.verdicts.set(text, (preview.verdicts.get(text) ?? 0) + 1);
      if (preview.samples.length < SAMPLES) preview.samples.push(sampleOf(letter, verdict, judgement.changes ?? []));
    }
    if (judgement.kind === "left") {
      preview.left[judgement.because]++;
      continue;
    }
    preview.sent++;
    ofReason.sent++;
    const watermarkMs = watermarksMs[judgement.target] ?? null;
    if (watermarkMs !== null && !judgement.verdict.rejected && judgement.verdict.eventTimeMs < watermarkMs) preview.behindWatermark++;
    if (preview.sent === limit) {
      preview.ranges = upTo(ranges, letter);
      break;
    }
  }
  return preview;
}

function upTo(ranges: readonly LetterRange[], { partition, offset }: Letter): LetterRange[] {
  return ranges.flatMap((range) =>
    range.partition > partition ? [] : [{ ...range, until: range.partition === partition ? offset + 1 : range.until }],
  );
}

function sampleOf({ partition, offset, reason, pointer }: Letter, verdict: Verdict, changes: readonly Change[]): Sample {
  return { letter: `${partition}/${offset}`, reason, pointer, verdict: verdictText(verdict, { withPointer: true }), changes };
}

function verdictText({ reason, pointer, rejected }: Verdict, { withPointer = false } = {}): string {
  const word = rejected ? "reject" : reason === "" ? "ok" : "ok flag";
  return [word, reason, withPointer ? pointer : ""].filter((part) => part !== "").join(" ");
}

const BECAUSE: Readonly<Record<LeftBecause, string>> = {
  replayed: "an earlier replay sent them (--again sends them once more)",
  refused: `${MAX_REPLAYS} replays did not mend them`,
  uneditable: "no JSON object, or without the place that an edit or --key-from names",
  truncated: "only their beginning was kept, and events.raw has them no more",
  rejected: "the rules would reject them again (--even-rejected sends them)",
};

/** For a person. */
export function previewText(preview: Preview, rulesVersion: number): string {
  const { matching, looked, sent, left, reasons, verdicts, behindWatermark, samples } = preview;
  const parts = [`${matching} of ${looked} dead letters match, ${sent} would be sent\n`];
  if (matching > 0) {
    const rows = [...reasons].sort(([, a], [, b]) => b.matching - a.matching);
    parts.push(
      "\n",
      table([["reason", "matching", "sent"], ...rows.map(([reason, count]) => [printable(reason), count.matching, count.sent])]),
    );
  }
  parts.push(leftText(left));
  if (verdicts.size > 0) {
    const rows = [...verdicts].sort(([, a], [, b]) => b - a);
    parts.push(`\nrules version ${rulesVersion} says\n`, table(rows.map(([verdict, count]) => [`  ${verdict}`, count])));
  }
  if (behindWatermark > 0) parts.push(`\n${behindWatermark} are behind the watermark: late, if their window is closed\n`);
  for (const { letter, reason, pointer, verdict, changes } of samples) {
    parts.push(`\n${letter}  ${printable([reason, pointer].filter((part) => part !== "").join(" "))}  ->  ${printable(verdict)}\n`);
    for (const { pointer: place, before, after } of changes) {
      if (before !== undefined) parts.push(`  - ${printable(place)}  ${printable(before)}\n`);
      if (after !== undefined) parts.push(`  + ${printable(place)}  ${printable(after)}\n`);
    }
  }
  return parts.join("");
}

/** One line for each cause. */
export function leftText(left: Preview["left"]): string {
  return LEFT.filter((cause) => left[cause] > 0)
    .map((cause) => `left: ${left[cause]}, ${BECAUSE[cause]}\n`)
    .join("");
}
