/** What a caller may send beside the path: nothing of it is looked at, so nothing of it has a range to leave. */
import { expect, test } from "vitest";
import { type ApiRequest, questionOf } from "#functions/api/question.ts";
import { failureOf } from "#functions/api/response.ts";
import { API_PATHS } from "#shared/read/api-paths.ts";
import type { Reader } from "#shared/read/reader.ts";

async function askedOf(request: ApiRequest): Promise<unknown[]> {
  const asked: unknown[] = [];
  const record =
    (name: string | symbol) =>
    (...args: unknown[]) =>
      Promise.resolve(asked.push(name, ...args));
  await questionOf(request).answer(new Proxy({} as Reader, { get: (_target, name) => record(name) }));
  return asked;
}

const plain: ApiRequest = { httpMethod: "GET", resource: API_PATHS.user, pathParameters: { user: "42" } };

test.each([
  ["a limit of a billion", { queryStringParameters: { limit: "1e9" } }],
  ["a negative offset", { queryStringParameters: { offset: "-1" } }],
  ["an order that there is not", { queryStringParameters: { sort: "password", order: "'; DROP TABLE events" } }],
  ["a body of 10 MB", { body: "x".repeat(10 << 20), isBase64Encoded: false }],
])("%s asks for no more and no other than the path does", async (_what, more) => {
  expect(await askedOf({ ...plain, ...more })).toEqual(await askedOf(plain));
});

test("a kind of window that there is not is the caller's fault, and the answer names those that there are", () => {
  const request: ApiRequest = { httpMethod: "GET", resource: API_PATHS.window, pathParameters: { user: "1", kind: "1e9", start: "-1" } };
  let failure: ReturnType<typeof failureOf> | undefined;
  try {
    questionOf(request);
  } catch (thrown) {
    failure = failureOf(thrown);
  }
  expect(failure?.statusCode).toBe(400);
  expect(failure?.body).toContain("tumbling_5m");
});
