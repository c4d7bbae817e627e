/** Reasons that the seed's rules never give. */
import { expect, it } from "vitest";
import { goodEvent, validateRecords, validatorOf, verdictOf } from "#test/support/validated-event.ts";

const validator = validatorOf({
  version: 1,
  eventTypes: [
    { name: "purchase", fields: { "/session_id": { type: "string", pattern: "s-[0-9]+" } } },
    { name: "click", fields: { "/properties/amount": { type: "number" } }, unknownFields: "flag" },
  ],
  sources: [{ name: "web" }],
});

it.each([
  ["schema.pattern", "reject", "/session_id", { session_id: "s-x" }],
  ["schema.pattern", "reject", "/session_id", { session_id: "s-1 " }],
  [null, "ok", null, { session_id: "s-17" }],
  ["rule.unknown_field", "warning", null, { event_type: "click" }],
  [null, "ok", null, { event_type: "click", properties: { amount: 1 } }],
])("%s is a %s at %s for %j", (reason, verdict, pointer, changes) => {
  expect(verdictOf(validateRecords(validator, [{ value: JSON.stringify(goodEvent(changes)) }]))).toEqual({ verdict, reason, pointer });
});
