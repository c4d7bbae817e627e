/**
 * Every id of the list of hostile inputs has a test. Most are rows of the validator's table; where an input's subject is another stage, the test
 * that has it is named here, and this test fails when that one is renamed or goes away.
 */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { HOSTILE_ROWS } from "./hostile-input-rows.ts";

const ROOT = new URL("../../../", import.meta.url);
const ALL = Array.from({ length: 96 }, (_, i) => `B${String(i + 1).padStart(2, "0")}`);

/** id: what it is about, the file and the words of the test. */
const ELSEWHERE: readonly (readonly [id: string, subject: string, file: string, words: string])[] = [
  [
    "B14",
    "spellings of one number give one double",
    "test/property/validator/values.test.ts",
    "is the double that the language makes of it, to the last bit",
  ],
  ["B26", "terminal escapes", "test/unit/cli/main.test.ts", "nothing in an event can steer the terminal"],
  [
    "B34",
    "an event at the size limit fits as a dead letter",
    "test/integration/cli/dlq.test.ts",
    "of maxEventBytes with headers at their limit fits",
  ],
  [
    "B52",
    "an old schema version is read by its own rule",
    "test/property/validator/reference.test.ts",
    "rules that refuse what they do not know",
  ],
  [
    "B57",
    "same id, same bytes",
    "test/unit/processor/fold-golden.test.ts",
    "counts the same event within the horizon of log time as a duplicate",
  ],
  ["B58", "same id, other bytes", "test/unit/processor/fold-golden.test.ts", "makes another event under the same id a dead letter"],
  [
    "B59",
    "one partition's ids are its own",
    "test/property/processor/fold-laws.test.ts",
    "counts every row of events.raw in exactly one place",
  ],
  ["B60", "an id again behind the horizon", "test/unit/processor/state.test.ts", "knows an id until it is older than the horizon"],
  ["B68", "one window on an edge", "test/property/processor/fold-laws.test.ts", "puts every clean event into one window of each kind"],
  ["B69", "which side of the watermark is late", "test/unit/processor/fold-golden.test.ts", "name the five-minute window that has closed"],
  ["B70", "sessions at exactly the gap", "test/unit/processor/sessions.test.ts", "not one at exactly the gap"],
  ["B70", "a session of 1,000 merges", "test/unit/processor/sessions.test.ts", "of 1,000 merges in the worst order is one session"],
  ["B75", "session names as Redis keys", "test/unit/sinks/hot-values.test.ts", "a session name of any script is a key as it is"],
  ["B77", "markup on the status page", "test/integration/dashboard/status-page.test.ts", "runs no markup and no script of others"],
  [
    "B82",
    "a producer's header does not pass for ours",
    "test/unit/processor/fold-golden.test.ts",
    "do not let a producer's header pass for ours",
  ],
  ["B82", "replays go to allowed topics only", "test/integration/cli/dlq.test.ts", "a topic that is no lane's events.raw is no target"],
  ["B83", "records of an aborted transaction", "test/integration/kafka/transactions.test.ts", "are delivered nowhere"],
  [
    "B84",
    "a batch that unpacks to a gigabyte",
    "test/unit/shared/kafka/decompression-bomb.test.ts",
    "is refused as corrupt, and not held in memory",
  ],
  ["B85", "loop guard of replays", "test/integration/cli/dlq.test.ts", "what three replays did not mend is refused"],
  ["B86", "events of another kind", "test/unit/validator/invocation.test.ts", "is one clear error that names the mapping"],
  ["B87", "poison at the first, middle and last place", "test/unit/validator/invocation.test.ts", "harms no other"],
  ["B88", "same batch twice", "test/unit/validator/invocation.test.ts", "the same batch twice gives the same bytes twice"],
  ["B88", "overlapping batches", "test/simulation/redelivery.test.ts", "redelivers, overlaps, kills and lets zombies finish"],
  [
    "B89",
    "no time left: killed and delivered again",
    "test/integration/twin/lambda-twin.test.ts",
    "beyond its time limit is killed and delivered again",
  ],
  [
    "B90",
    "there is no partial answer: all or the whole batch again",
    "test/integration/twin/lambda-twin.test.ts",
    "whose invocation throws is delivered again",
  ],
  ["B91", "rules with impossible numbers", "test/unit/rules/release.test.ts", "is refused whole, naming the place"],
  [
    "B92",
    "patterns are matched in linear time, by an automaton",
    "test/property/rules/pattern.test.ts",
    "what JavaScript's regular expression says",
  ],
  [
    "B94",
    "the read API takes a path and nothing else",
    "test/unit/functions/api-hostile.test.ts",
    "asks for no more and no other than the path does",
  ],
  ["B95", "another site calls the status page", "test/integration/dashboard/status-page.test.ts", "answers its own address only"],
  ["B96", "a mistyped setting", "test/e2e/start.test.ts", "unknown variable, did you mean WEIR_LANE?"],
];

/** What the pipeline has nothing to be attacked in yet. An id leaves this list when its subject is built. */
const NO_SUBJECT_YET: Readonly<Record<string, string>> = {
  B93: "no rule raises an alert",
};

describe("the hostile inputs B01 to B96", () => {
  const inTable = new Set(HOSTILE_ROWS.map(([id]) => id));
  const elsewhere = new Set(ELSEWHERE.map(([id]) => id));

  it("each have a row of the table, a named test, or a reason why there is nothing to test", () => {
    const missing = ALL.filter((id) => !inTable.has(id) && !elsewhere.has(id) && !Object.hasOwn(NO_SUBJECT_YET, id));
    expect(missing).toEqual([]);
  });

  it("are no others", () => {
    const named = [...inTable, ...elsewhere, ...Object.keys(NO_SUBJECT_YET)];
    expect(named.filter((id) => !ALL.includes(id))).toEqual([]);
  });

  it("have no excuse where there is a test", () => {
    expect(Object.keys(NO_SUBJECT_YET).filter((id) => inTable.has(id) || elsewhere.has(id))).toEqual([]);
  });

  it.each(ELSEWHERE)("%s, %s: %s has the test", (_id, _subject, file, words) => {
    const path = new URL(file, ROOT);
    expect(existsSync(path), file).toBe(true);
    expect(readFileSync(path, "utf8")).toContain(words);
  });
});
