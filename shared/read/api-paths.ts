/**
 * The read API's paths, as API Gateway's resources and IAM's policies have them. Each is there twice: of all sources, and behind `/sources/LIST` as a caller
 * who may see these sources only. So who may see what is a matter of IAM alone: `execute-api:Invoke` on `.../GET/sources/web/*` is the right to see `web`.
 */
export const API_PATHS = {
  user: "/users/{user}/activity",
  window: "/users/{user}/windows/{kind}/{start}",
  session: "/sessions/{session}",
  event: "/events/{event}",
  metric: "/metrics/{metric}",
} as const;

export type ApiQuestion = keyof typeof API_PATHS;

/** `LIST`: names with commas between, in order, none twice: one right has one spelling. */
export const SOURCES_PREFIX = "/sources/{sources}";
