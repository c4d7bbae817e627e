/**
 * Access lists and quotas of Kafka as CloudFormation declares them. What is declared is owned: an update removes what is declared no more, a deletion
 * what was declared, each line for line. Lines that somebody else wrote are never touched, but named.
 */
import { z } from "zod";
import { accessListOf, addGrants, type Grant, grantsOf, grantText, removeGrants } from "#shared/clients/kafka/acls.ts";
import { type QuotaName, type Quotas, readQuotas, setQuotas } from "#shared/clients/kafka/client-quotas.ts";
import type { KafkaAccess } from "#shared/clients/kafka/kafka-options.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

const rate = z.coerce.number().positive().optional();

/** Never `*`: what is for all of them is for those to come too. */
const names = z.array(z.string().regex(/^[A-Za-z0-9._-]{1,249}$/, "a name of Kafka's: letters, digits, . _ -")).default([]);

/** CloudFormation hands every number over as a string. */
const properties = z.object({
  /** User names, without `User:`. */
  Users: z.record(
    z.string().regex(/^[A-Za-z0-9._@-]{1,100}$/, "a user's name: letters, digits, . _ @ -"),
    z.object({
      Read: names,
      Write: names,
      Describe: names,
      Groups: names,
      DescribeGroups: names,
      TransactionalIdPrefix: z.string().min(1).optional(),
      /** Per broker. */
      ProducerBytesPerS: rate,
      ConsumerBytesPerS: rate,
      RequestPercent: rate,
    }),
  ),
});

interface Declared {
  readonly grants: ReadonlyMap<string, Grant>;
  readonly quotas: ReadonlyMap<string, Quotas>;
}

const NOTHING: Declared = { grants: new Map(), quotas: new Map() };

/** @throws OperatingError KAFKA_ACCESS_INVALID */
export function declaredAccess(input: unknown): Declared {
  const parsed = properties.safeParse(input);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new OperatingError(`the declared access is not valid: ${problems.join("; ")}`, { code: "KAFKA_ACCESS_INVALID" });
  }
  const users = Object.entries(parsed.data.Users);
  const grants = users.flatMap(([user, { TransactionalIdPrefix: prefix, ...rights }]) =>
    grantsOf(`User:${user}`, {
      read: rights.Read,
      write: rights.Write,
      describe: rights.Describe,
      groups: rights.Groups,
      describeGroups: rights.DescribeGroups,
      ...(prefix === undefined ? {} : { transactionalIdPrefix: prefix }),
    }),
  );
  return {
    grants: new Map(grants.map((grant) => [grantText(grant), grant])),
    quotas: new Map(
      users.map(([user, { ProducerBytesPerS, ConsumerBytesPerS, RequestPercent }]) => [
        user,
        {
          ...(ProducerBytesPerS === undefined ? {} : { producer_byte_rate: ProducerBytesPerS }),
          ...(ConsumerBytesPerS === undefined ? {} : { consumer_byte_rate: ConsumerBytesPerS }),
          ...(RequestPercent === undefined ? {} : { request_percentage: RequestPercent }),
        },
      ]),
    ),
  };
}

/** A deletion of what could never be made, since it was not valid, has nothing to remove. */
export function declaredOrNothing(input: unknown): Declared {
  try {
    return input === undefined ? NOTHING : declaredAccess(input);
  } catch {
    return NOTHING;
  }
}

/** From one declaration to the next; {@link declaredOrNothing}`(undefined)` before the first and after the last. Returns lines that nobody declared. */
export async function moveAccess(kafka: KafkaAccess, before: Declared, after: Declared): Promise<string[]> {
  // New rights first: a login that keeps its name never goes without.
  await addGrants(kafka, [...after.grants.values()]);
  const gone = [...before.grants].filter(([text]) => !after.grants.has(text)).map(([, grant]) => grant);
  await removeGrants(kafka, gone);
  for (const user of new Set([...before.quotas.keys(), ...after.quotas.keys()]))
    await moveQuotas(kafka, user, before.quotas.get(user) ?? {}, after.quotas.get(user) ?? {});
  const lists = await Promise.all([...after.quotas.keys()].map((user) => accessListOf(kafka, `User:${user}`)));
  // A broker may still show what was removed a moment ago.
  return lists.flat().filter((text) => !after.grants.has(text) && !before.grants.has(text));
}

/** A value that somebody else has set since stays when the declaration goes. */
async function moveQuotas(kafka: KafkaAccess, user: string, before: Quotas, after: Quotas): Promise<void> {
  const current = await readQuotas(kafka, user);
  const dropped = (Object.entries(before) as [QuotaName, number][]).filter(
    ([name, value]) => after[name] === undefined && current[name] === value,
  );
  await setQuotas(kafka, user, { ...Object.fromEntries(dropped.map(([name]) => [name, null])), ...after });
}
