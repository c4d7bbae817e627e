/** What whoever sees a dead letter can do about it: by reason, else by the stage that rejected. */
import { REASONS, type ReasonCode, type ReasonStage } from "#shared/events/reasons.ts";

const BY_STAGE: Readonly<Record<ReasonStage, string>> = {
  record: "the producer has to send it otherwise",
  encoding: "the producer has to send UTF-8 JSON without compression of its own",
  json: "the producer has to mend how it writes JSON",
  schema: "mend the event with --set, --rename or --delete, or change the rules (weir rules), then replay",
  identity: "mend the id with --set, or the producer",
  time: "mend event_time with --set, or the producer's clock or format",
  key: "replay with --key-from /user_id, and mend the producer's key",
  processor: "look at the event that came before it",
  rule: "look at the rule (weir rules show)",
};

const BY_CODE: Readonly<Partial<Record<ReasonCode, string>>> = {
  "value.null": "nothing to replay: the record was empty",
  "size.event": "send less per event, or raise WEIR_MAX_EVENT_BYTES",
  "headers.size": "send fewer or smaller headers",
  unknown_event: "declare the event type (weir rules apply) and replay, or rename it with --set /event_type",
  unknown_source: "declare the source (weir rules apply) and replay, or rename it with --set /source",
  batch_not_allowed: "send one record per event",
  "time.ancient": "replay it into a historical lane with --target",
  "time.future": "mend the producer's clock; once its time has come, the event may be replayed as it is",
  "id.conflict": "another event has this event_id: give this one its own with --set /event_id",
};

export function reasonText(code: string): { readonly text: string; readonly advice: string } {
  if (!Object.hasOwn(REASONS, code)) return { text: "a reason that this version does not know", advice: "run the version that wrote it" };
  const known = code as ReasonCode;
  return { text: REASONS[known].text, advice: BY_CODE[known] ?? BY_STAGE[REASONS[known].stage] };
}
