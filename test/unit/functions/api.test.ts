import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ApiRequest, questionOf } from "#functions/api/question.ts";
import { ReaderLease } from "#functions/api/reader-lease.ts";
import { failureOf, responseOf } from "#functions/api/response.ts";
import { OperatingError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";
import { type Access, ALL_SOURCES } from "#shared/read/access.ts";
import type { Answer } from "#shared/read/answer.ts";
import { API_PATHS, SOURCES_PREFIX } from "#shared/read/api-paths.ts";
import type { Reader } from "#shared/read/reader.ts";
import { EmfMetrics } from "#shared/telemetry/emf.ts";
import { METRICS } from "#shared/telemetry/metrics-catalogue.ts";

const AS_OF = { timeMs: 1, ageMs: 2, partition: null, row: null };
const answerOf = (more: Partial<Answer<object>> = {}): Answer<object> => ({
  value: {},
  from: "redis",
  asOf: AS_OF,
  isFinal: false,
  notes: [],
  ...more,
});

/** What the reader is asked. */
async function askedOf(request: ApiRequest): Promise<unknown[]> {
  const asked: unknown[] = [];
  const reader = new Proxy({} as Reader, {
    get:
      (_target, name) =>
      async (...args: unknown[]): Promise<Answer<object>> => {
        asked.push(name, ...args);
        return answerOf();
      },
  });
  await questionOf(request).answer(reader);
  return asked;
}

const get = (resource: string, pathParameters: Record<string, string> = {}): ApiRequest => ({
  httpMethod: "GET",
  resource,
  pathParameters,
});
const restricted = (sources: string): ApiRequest => get(`${SOURCES_PREFIX}${API_PATHS.user}`, { user: "42", sources });

describe("a request", () => {
  test("asks the reader what its path says, as a caller who may see all sources", async () => {
    expect(await askedOf(get(API_PATHS.user, { user: "42" }))).toEqual(["user", "42", ALL_SOURCES]);
    expect(await askedOf(get(API_PATHS.session, { session: "a%20b" }))).toEqual(["session", "a b", ALL_SOURCES]);
    expect(await askedOf(get(API_PATHS.session, { session: "100%" }))).toEqual(["session", "100%", ALL_SOURCES]);
    expect(await askedOf(get(API_PATHS.event, { event: "e" }))).toEqual(["event", "e", ALL_SOURCES]);
    expect(await askedOf(get(API_PATHS.metric, { metric: "cost.usd:web" }))).toEqual(["metric", "cost.usd:web", ALL_SOURCES]);
    const window = { user: "42", kind: "tumbling_5m", start: "2026-11-24T10:05:00Z" };
    expect(await askedOf(get(API_PATHS.window, window))).toEqual([
      "window",
      "tumbling_5m",
      "42",
      Date.UTC(2026, 10, 24, 10, 5),
      ALL_SOURCES,
    ]);
  });

  test("behind a list of sources is answered from these alone, whatever it asks", async () => {
    const sources = new Set(["mobile", "web"]);
    expect((await askedOf(restricted("mobile,web"))).at(-1)).toEqual({ sources });
    for (const path of Object.values(API_PATHS)) {
      const parameters = { user: "1", session: "s", event: "e", metric: "m", kind: "tumbling_1h", start: "2026-11-24T10:00:00Z" };
      const asked = await askedOf(get(`${SOURCES_PREFIX}${path}`, { ...parameters, sources: "mobile,web" }));
      expect(asked.at(-1), path).toEqual({ sources });
    }
  });

  test("that spells its sources in any other way than the one that a policy names is refused, and never answered from all", async () => {
    const refused = { code: "API_REQUEST" };
    for (const sources of ["", "web,mobile", "web,web", "%77eb", "Web", "web,", "*", "web/x", "a".repeat(65)]) {
      expect(() => questionOf(restricted(sources)), sources).toThrow(expect.objectContaining(refused));
    }
    expect(() => questionOf(get(`${SOURCES_PREFIX}${API_PATHS.user}`, { user: "42" }))).toThrow(expect.objectContaining(refused));
    await fc.assert(
      fc.asyncProperty(fc.string(), async (sources) => {
        let access: Access | undefined;
        try {
          access = (await askedOf(restricted(sources))).at(-1) as Access;
        } catch (thrown) {
          expect(thrown).toMatchObject(refused);
        }
        if (access !== undefined) expect([...(access.sources as ReadonlySet<string>)].join(",")).toBe(sources);
      }),
    );
  });

  test.each([
    ["another method", { ...get(API_PATHS.user, { user: "42" }), httpMethod: "POST" }],
    ["a path that is none", get("/users")],
    ["no key", get(API_PATHS.user)],
    ["no parameters at all", { httpMethod: "GET", resource: API_PATHS.event, pathParameters: null }],
    ["a window of no kind", get(API_PATHS.window, { user: "1", kind: "x", start: "2026-11-24T10:00:00Z" })],
    ["a window without a zone", get(API_PATHS.window, { user: "1", kind: "tumbling_1h", start: "2026-11-24T10:00:00" })],
    ["a window on the 32nd", get(API_PATHS.window, { user: "1", kind: "tumbling_1h", start: "2026-11-32T10:00:00Z" })],
  ])("with %s is refused", (_what, request) => {
    expect(() => questionOf(request)).toThrow(expect.objectContaining({ code: "API_REQUEST" }));
  });
});

describe("a response", () => {
  const status = (thrown: unknown): number => failureOf(thrown).statusCode;

  test("says that there is none by its status, with the same body as any answer", () => {
    const { statusCode, body, headers } = responseOf("user", answerOf({ value: null, from: "absent" }));
    expect(statusCode).toBe(404);
    expect(JSON.parse(body)).toEqual(answerOf({ value: null, from: "absent" }));
    expect(headers["cache-control"]).toBe("no-store");
  });

  test("may be kept only where what it tells is over: events for a day, closed windows for a minute", () => {
    const control = (...args: Parameters<typeof responseOf>): string => responseOf(...args).headers["cache-control"]!;
    expect(control("event", answerOf({ isFinal: true }))).toBe("private, max-age=86400");
    expect(control("window", answerOf({ isFinal: true }))).toBe("private, max-age=60");
    expect(control("window", answerOf())).toBe("no-store");
    for (const asked of ["user", "session", "metric"] as const) expect(control(asked, answerOf({ isFinal: true })), asked).toBe("no-store");
    expect(control("event", answerOf({ value: null, isFinal: true }))).toBe("no-store");
  });

  test("names no server of ours, neither in notes nor in failures", () => {
    const notes = ["Redis is down: connect ECONNREFUSED 10.0.0.5:6379\nat x", "Redis has the log up to 12 s ago"];
    expect((JSON.parse(responseOf("user", answerOf({ notes })).body) as Answer<object>).notes).toEqual(["Redis is down", notes[1]]);
    const inside = "https://clickhouse.internal:8443";
    for (const error of [
      new UnavailableError(inside, { code: "READ_UNAVAILABLE" }),
      new TransientError(inside, { code: "READ_BUSY" }),
      new OperatingError(inside, { code: "REDIS_REFUSED" }),
      new Error(inside),
      inside,
    ])
      expect(JSON.stringify(failureOf(error))).not.toContain("internal:");
  });

  test("tells whose fault it is: the caller's, a store's that may be asked again, or ours", () => {
    expect(status(new OperatingError("x", { code: "API_REQUEST" }))).toBe(400);
    expect(status(new OperatingError("x", { code: "READ_KEY" }))).toBe(400);
    expect(failureOf(new UnavailableError("x", { code: "READ_UNAVAILABLE" }))).toMatchObject({
      statusCode: 503,
      headers: { "retry-after": "1" },
    });
    expect(status(new TransientError("x", { code: "READ_BUSY" }))).toBe(503);
    expect(status(new OperatingError("x", { code: "REDIS_REFUSED" }))).toBe(500);
    expect(status(new Error("x"))).toBe(500);
  });
});

describe("a reader's lease", () => {
  function leased(failing: () => boolean = () => false) {
    let nowMs = 0;
    const log: string[] = [];
    const lease = new ReaderLease(
      async () => {
        if (failing()) throw new Error("no secret");
        const name = `${log.filter((line) => line.startsWith("open")).length + 1}`;
        log.push(`open ${name}`);
        return { close: async () => void log.push(`close ${name}`) } as unknown as Reader;
      },
      () => nowMs,
    );
    return { lease, log, pass: (ms: number) => void (nowMs += ms) };
  }

  test("is one reader until its logins may have changed; then a new one, and the old one is closed", async () => {
    const { lease, log, pass } = leased();
    const first = await lease.reader();
    pass(299_999);
    expect(await lease.reader()).toBe(first);
    pass(1);
    expect(await lease.reader()).not.toBe(first);
    expect(log).toEqual(["open 1", "open 2", "close 1"]);
  });

  test("that is ended after a failure reads its logins at the next request, not before", async () => {
    const { lease, log } = leased();
    await lease.reader();
    lease.end();
    expect(log).toEqual(["open 1"]);
    await lease.reader();
    expect(log).toEqual(["open 1", "open 2", "close 1"]);
  });

  test("that could not be opened is tried again by the next request", async () => {
    let fails = true;
    const { lease, log } = leased(() => fails);
    await expect(lease.reader()).rejects.toThrow("no secret");
    fails = false;
    await lease.reader();
    expect(log).toEqual(["open 1"]);
  });
});

test("every metric of the API in the catalogue can be written as a document", () => {
  const names = Object.entries(METRICS).filter(([, { emitter }]) => emitter === "api");
  expect(names.map(([name]) => name).toSorted()).toEqual(["ReadMisses", "Reads", "ReadsDegraded"]);
  const lines: string[] = [];
  const dimensions = { service: "api", environment: "test", lane: "live" };
  const metrics = new EmfMetrics({ dimensions, intervalMs: 0, now: () => 0, write: (line) => lines.push(line) });
  for (const name of ["Reads", "ReadMisses", "ReadsDegraded"] as const) metrics.count(name, 1);
  metrics.flush();
  expect(JSON.parse(lines[0]!)).toMatchObject({ service: "api", Reads: 1, ReadMisses: 1, ReadsDegraded: 1 });
});
