import fc from "fast-check";
import { expect, test } from "vitest";
import { declaredAccess, declaredOrNothing } from "#functions/kafka-access/access.ts";
import { KAFKA_PARTS, kafkaRights, rightsProperties } from "#shared/events/kafka-rights.ts";

const base = { ServiceToken: "arn", Cluster: "arn" };

test("numbers come as CloudFormation sends them, as text", () => {
  const { grants, quotas } = declaredAccess({
    ...base,
    Users: { p: { Write: ["events.raw"], ProducerBytesPerS: "1000", RequestPercent: "50" } },
  });
  expect([...grants.keys()]).toEqual(["User:p may write topic events.raw"]);
  expect(Object.fromEntries(quotas)).toEqual({ p: { producer_byte_rate: 1_000, request_percentage: 50 } });
});

test.each([
  ["everybody", { "*": { Write: ["events.raw"] } }],
  ["every topic", { p: { Read: ["*"] } }],
  ["every transactional id", { p: { TransactionalIdPrefix: "" } }],
  ["a quota of nothing", { p: { ProducerBytesPerS: "0" } }],
  ["a quota that is no number", { p: { ProducerBytesPerS: "lots" } }],
  ["a user with a second name in it", { "p,User:q": {} }],
])("%s cannot be declared; nor is there anything to remove of it", (_what, Users) => {
  expect(() => declaredAccess({ ...base, Users })).toThrow(expect.objectContaining({ code: "KAFKA_ACCESS_INVALID" }));
  expect(declaredOrNothing({ ...base, Users }).grants.size).toBe(0);
});

test("whatever is declared, each line is about a declared user, and the same declaration gives the same lines", () => {
  const users = fc.dictionary(
    fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
    fc.constantFrom(...KAFKA_PARTS).map((part) => rightsProperties(kafkaRights({ lane: "live", generation: 1 })[part])),
    {
      maxKeys: 5,
    },
  );
  fc.assert(
    fc.property(users, (Users) => {
      const [once, again] = [declaredAccess({ ...base, Users }), declaredAccess({ ...base, Users })];
      expect([...again.grants.keys()]).toEqual([...once.grants.keys()]);
      expect(once.grants.size).toBeGreaterThanOrEqual(Object.keys(Users).length);
      for (const { principal } of once.grants.values()) expect(Object.keys(Users)).toContain(principal.slice("User:".length));
    }),
  );
});
