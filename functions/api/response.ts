/** An answer, or why there is none, as HTTP. What callers are told of a failure names no server: they are inside the network, not on the team. */
import { OperatingError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";
import type { Answer } from "#shared/read/answer.ts";
import type { ApiQuestion } from "#shared/read/api-paths.ts";

export interface ApiResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What asks wrongly, by code. */
const WRONG_REQUESTS: ReadonlySet<string> = new Set(["API_REQUEST", "READ_KEY"]);
const RETRY_AFTER_S = 1;
/** An event never changes; a closed window does so only when a new generation counts the past anew. */
const KEEP_S: Readonly<Partial<Record<ApiQuestion, number>>> = { event: 86_400, window: 60 };

export function responseOf(asked: ApiQuestion, answer: Answer<object>): ApiResponse {
  const keepS = answer.value !== null && answer.isFinal ? KEEP_S[asked] : undefined;
  const body = { ...answer, notes: answer.notes.map(withoutServers) };
  return json(answer.value === null ? 404 : 200, body, { "cache-control": keepS === undefined ? "no-store" : `private, max-age=${keepS}` });
}

/** Whoever asked wrongly learns what was wrong; of the rest, whether asking again helps. */
export function failureOf(thrown: unknown): ApiResponse {
  const none = { "cache-control": "no-store" };
  if (thrown instanceof OperatingError && WRONG_REQUESTS.has(thrown.code)) {
    return json(400, { error: { code: thrown.code, message: thrown.message } }, none);
  }
  if (thrown instanceof UnavailableError || thrown instanceof TransientError) {
    const error = { code: thrown.code, message: "it cannot be looked up now, ask again" };
    return json(503, { error }, { ...none, "retry-after": String(RETRY_AFTER_S) });
  }
  return json(500, { error: { code: "API_INTERNAL", message: "the request failed; its id is in the header x-amzn-requestid" } }, none);
}

/** `Redis is down: connect ECONNREFUSED 10.…` */
function withoutServers(note: string): string {
  return note.replace(/^(\w+ is down): .*$/s, "$1");
}

function json(statusCode: number, body: object, headers: Readonly<Record<string, string>>): ApiResponse {
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
