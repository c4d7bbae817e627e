/**
 * What a request of API Gateway (REST, proxy integration: docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html) asks.
 * Who may ask was decided before by IAM, from the very path; which sources an answer is made of follows from it.
 */
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { type Access, ALL_SOURCES } from "#shared/read/access.ts";
import type { Answer } from "#shared/read/answer.ts";
import { API_PATHS, type ApiQuestion, SOURCES_PREFIX } from "#shared/read/api-paths.ts";
import type { Reader } from "#shared/read/reader.ts";

export interface ApiRequest {
  readonly httpMethod: string;
  /** The template that matched, such as `/users/{user}/activity`. */
  readonly resource: string;
  readonly pathParameters?: Readonly<Record<string, string | undefined>> | null;
}

export interface Question {
  readonly asked: ApiQuestion;
  readonly answer: (reader: Pick<Reader, ApiQuestion>) => Promise<Answer<object>>;
}

/** As data_sources has them. */
const SOURCE = /^[a-z][a-z0-9_.-]{0,63}$/;
const SOURCES_MAX = 20;
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?Z$/;

/** @throws OperatingError API_REQUEST */
export function questionOf({ httpMethod, resource, pathParameters }: ApiRequest): Question {
  const given = pathParameters ?? {};
  const isRestricted = resource.startsWith(`${SOURCES_PREFIX}/`);
  const path = isRestricted ? resource.slice(SOURCES_PREFIX.length) : resource;
  const asked = (Object.keys(API_PATHS) as ApiQuestion[]).find((each) => API_PATHS[each] === path);
  if (httpMethod !== "GET" || asked === undefined) throw refused(`there is no ${httpMethod} ${resource}`);
  const access = isRestricted ? { sources: sourcesOf(given["sources"]) } : ALL_SOURCES;
  const part = (name: string): string => {
    const text = given[name];
    if (text === undefined || text === "") throw refused(`${name} is missing`);
    return unescaped(text);
  };
  if (asked === "window") return windowQuestion(part, access);
  const key = part(asked);
  return { asked, answer: (reader) => reader[asked](key, access) };
}

function windowQuestion(part: (name: string) => string, access: Access): Question {
  const kind = WINDOW_KINDS.find((each) => each === part("kind"));
  if (kind === undefined) throw refused(`a window is one of ${WINDOW_KINDS.join(", ")}`);
  const start = part("start");
  const startMs = RFC_3339.test(start) ? Date.parse(start) : Number.NaN;
  if (Number.isNaN(startMs)) throw refused("a window starts at a time such as 2026-11-24T10:05:00Z");
  const user = part("user");
  return { asked: "window", answer: (reader) => reader.window(kind, user, startMs, access) };
}

/** Never unescaped: IAM has compared the path as it stands, and another spelling must not reach what this one may not. */
function sourcesOf(list: string | undefined): ReadonlySet<string> {
  const names = (list ?? "").split(",");
  const isOrdered = names.every((name, i) => i === 0 || names[i - 1]! < name);
  if (names.length <= SOURCES_MAX && isOrdered && names.every((name) => SOURCE.test(name))) return new Set(names);
  throw refused("sources are at most twenty names with commas between, in order, none twice, such as mobile,web");
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function refused(message: string): OperatingError {
  return new OperatingError(message, { code: "API_REQUEST" });
}
