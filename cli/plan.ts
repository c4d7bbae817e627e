import { clickhouseDays, limitsOf, needOf, trafficOf } from "../infra/config/capacity.ts";
import { costOf } from "../infra/config/cost.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../infra/config/environments.ts";
import { PRICES, PRICES_TAKEN_ON } from "../infra/config/prices.ts";
import { type Command, EXIT, numberOption, parseOptions, table, UsageError } from "./command.ts";

const EVENT_BYTES = 330;

export const command: Command = {
  summary: "what a rate needs in the cloud, what it costs, and which limit binds first",
  help: `usage: weir plan [--env dev|staging|prod] [--rate EVENTS_PER_S] [--event-bytes ${EVENT_BYTES}] [--json]

An environment of infra/config/environments.ts under a load, by arithmetic alone: needed beside configured, how full each part is, the bill of a month.
Without --rate: the rate that the environment is made for. Exit code 3: a part that the rate needs is too small.

examples:
  weir plan --rate 1000000 --event-bytes 330 --env prod
  weir plan --env dev --json
`,
  async run({ args, out, err }) {
    const { values } = parseOptions(args, { env: { type: "string" }, rate: { type: "string" }, "event-bytes": { type: "string" } });
    const name = ENVIRONMENT_NAMES.find((each) => each === (values.env ?? "prod"));
    if (name === undefined) throw new UsageError(`--env: must be one of ${ENVIRONMENT_NAMES.join(", ")}`, "weir plan --help");
    const environment = environmentNamed(name);
    const load = {
      eventsPerS: numberOption("rate", values.rate, { from: 1, to: 1e9 }) ?? environment.alarms.eventsPerS,
      eventBytes: numberOption("event-bytes", values["event-bytes"], { from: 1, to: 1 << 20 }) ?? EVENT_BYTES,
    };
    const need = needOf(environment, load);
    const { validator, kafka, processor, clickhouse, partitions } = environment;
    const has: Record<keyof typeof need, number> = {
      pollers: validator.pollers,
      partitions,
      provisionedConcurrency: validator.provisionedConcurrency,
      reservedConcurrency: validator.reservedConcurrency ?? Infinity,
      brokers: kafka.brokers,
      tasks: processor.tasks,
      clickhouseGibPerReplica: clickhouse.volumeGib,
    };
    const keys = Object.keys(need) as (keyof typeof need)[];
    const short = keys.filter((key) => need[key] > has[key]);
    const limits = limitsOf(environment, load);
    const costs = costOf(environment, load);
    const usdPerMonth = costs.reduce((sum, line) => sum + line.usdPerMonth, 0);
    const traffic = trafficOf(load);
    const days = clickhouseDays(environment, load);
    if (values.json === true) {
      const money = { pricesTakenOn: PRICES_TAKEN_ON, usdPerMonth, costs };
      out(`${JSON.stringify({ environment: name, ...load, need, has, short, limits, traffic, clickhouseDays: days, ...money })}\n`);
    } else {
      const whole = (value: number): string => (Number.isFinite(value) ? Math.round(value).toLocaleString("en-US") : "any");
      out(`${name} at ${whole(load.eventsPerS)} events/s of ${whole(load.eventBytes)} bytes: ${whole(traffic.rawMbPerS)} MB/s\n\n`);
      out(table([["part", "needed", "configured"], ...keys.map((key) => [key, whole(need[key]), whole(has[key])])]));
      const full = (use: number): string => `${(use * 100).toFixed(0)} %`;
      out(`\n${table([["limit", "full", "of"], ...limits.map((limit) => [limit.name, full(limit.use), limit.what])])}`);
      out(`\nbinds first: ${limits[0]!.name}; ClickHouse's disk holds ${days.toFixed(1)} days\n`);
      out(`\n${table([["USD a month", "part"], ...costs.map((line) => [whole(line.usdPerMonth), line.part])])}`);
      out(`together ${whole(usdPerMonth)}, us-east-1 list prices of ${PRICES_TAKEN_ON}\n`);
      const unchecked = Object.values(PRICES).filter((price) => !price.isChecked).length;
      err(`note: ${unchecked} of ${Object.keys(PRICES).length} prices are not from AWS's own text: infra/config/prices.ts\n`);
      for (const key of short) err(`too small: ${key}, ${whole(need[key])} needed\n`);
    }
    return short.length > 0 ? EXIT.checkFailed : EXIT.ok;
  },
};
