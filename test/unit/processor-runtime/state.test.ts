import { describe, expect, test } from "vitest";
import { backOffMs, failureEvent } from "#processor/checkpoint/failure.ts";
import { nextState, TASK_EVENTS, TASK_STATES, type TaskState, TRANSITIONS } from "#processor/checkpoint/state.ts";
import { InvariantError } from "#shared/kernel/assert.ts";
import {
  CorruptStateError,
  FencedError,
  OperatingError,
  TransientError,
  UnavailableError,
  UnknownOutcomeError,
} from "#shared/kernel/errors.ts";

const END_STATES: readonly TaskState[] = ["stopped", "refused", "fenced", "failed"];

describe("the life of a task", () => {
  test("every state answers every event", () => {
    for (const state of TASK_STATES) expect(Object.keys(TRANSITIONS[state]).toSorted()).toEqual([...TASK_EVENTS].toSorted());
  });

  test("every state is reached from fencing, and every living state can end", () => {
    const reach = (from: TaskState): Set<TaskState> => {
      const seen = new Set<TaskState>([from]);
      for (const state of seen) for (const outcome of Object.values(TRANSITIONS[state])) if (outcome !== "impossible") seen.add(outcome);
      return seen;
    };
    expect([...reach("fencing")].toSorted()).toEqual([...TASK_STATES].toSorted());
    for (const state of TASK_STATES) expect(END_STATES.some((end) => reach(state).has(end))).toBe(true);
  });

  test("an end is an end", () => {
    for (const state of END_STATES) {
      for (const event of TASK_EVENTS) expect([state, "impossible"]).toContain(TRANSITIONS[state][event]);
    }
  });

  test("nothing is committed before the fence and the replay", () => {
    for (const state of ["fencing", "reading", "restoring", "replaying", "backing-off"] as const) {
      expect(TRANSITIONS[state]["epoch-sent"]).toBe("impossible");
      expect(TRANSITIONS[state].committed).toBe("impossible");
    }
  });

  test("one transaction is in flight at most", () => {
    expect(TRANSITIONS.committing["epoch-sent"]).toBe("impossible");
  });

  test("after any failure the next thing is the fence", () => {
    const living = TASK_STATES.filter((state) => ![...END_STATES, "backing-off"].includes(state));
    for (const state of living) expect(nextState(nextState(state, "lost"), "backed-off")).toBe("fencing");
  });

  test("an impossible event is a bug of the runtime", () => {
    expect(() => nextState("running", "committed")).toThrow(InvariantError);
  });
});

describe("what an error does to a task", () => {
  const options = { code: "TEST" };
  const first = { failures: 1, hasRun: true };

  test.each([
    ["a newer owner", new FencedError("", options), first, "fenced-out"],
    ["an unknown outcome", new UnknownOutcomeError("", options), { failures: 900, hasRun: true }, "lost"],
    ["a lost connection", new TransientError("", options), { failures: 900, hasRun: true }, "lost"],
    ["a broker that went away", new UnavailableError("", options), { failures: 900, hasRun: true }, "lost"],
    ["a broker that never was", new UnavailableError("", options), { failures: 1, hasRun: false }, "broke"],
    ["a damaged record", new CorruptStateError("", options), first, "lost"],
    ["a record that stays damaged", new CorruptStateError("", options), { failures: 5, hasRun: true }, "broke"],
    ["an offset out of range", new OperatingError("", options), first, "lost"],
    ["a bug", new TypeError("x is undefined"), first, "broke"],
  ] as const)("%s", (_, error, facts, event) => {
    expect(failureEvent(error, facts)).toBe(event);
  });

  test("pauses grow to five seconds and no further", () => {
    expect([1, 2, 3, 7, 100].map(backOffMs)).toEqual([100, 200, 400, 5_000, 5_000]);
  });
});
