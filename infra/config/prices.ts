/**
 * On-demand list prices in US dollars, us-east-1, taken on {@link PRICES_TAKEN_ON}; other regions differ (eu-central-1 is about a fifth dearer), and so
 * do commitments. A price without a source in AWS's own text is `isChecked: false`: look it up before you rely on it.
 */
export const PRICES_TAKEN_ON = "2026-11-24";

/** AWS bills a month as 730 hours in its calculator. */
export const HOURS_PER_MONTH = 730;

export interface Price {
  readonly usd: number;
  readonly per: string;
  readonly isChecked: boolean;
}

const checked = (usd: number, per: string): Price => ({ usd, per, isChecked: true });
const remembered = (usd: number, per: string): Price => ({ usd, per, isChecked: false });

export const PRICES = {
  "kafka.m7g.large": checked(0.204, "broker hour"),
  "express.m7g.large": checked(0.408, "broker hour"),
  "express.m7g.xlarge": remembered(0.816, "broker hour"),
  "express.m7g.2xlarge": remembered(1.632, "broker hour"),
  "express.m7g.4xlarge": remembered(3.264, "broker hour"),
  "express.m7g.8xlarge": checked(6.528, "broker hour"),
  "express.m7g.16xlarge": remembered(13.056, "broker hour"),
  "kafka disk": checked(0.1, "GB and month"),
  // AWS's pages disagree whether replicas count; this is the price of logical bytes.
  "express storage": remembered(0.1, "GB and month"),
  "express data in": checked(0.01, "GB"),
  "between zones": checked(0.02, "GB, both sides"),
  "poller unit": checked(0.185, "event poller unit hour"),
  "lambda request": remembered(0.2e-6, "request"),
  "lambda compute": remembered(13.3334e-6, "GB second, Arm"),
  "lambda provisioned": remembered(3.3334e-6, "GB second, Arm"),
  "fargate cpu": remembered(0.03238, "vCPU hour, Arm"),
  "fargate memory": remembered(0.00356, "GB hour, Arm"),
  "cache.t4g.small": remembered(0.0256, "node hour"),
  "cache.m7g.large": remembered(0.127, "node hour"),
  "cache.r7g.xlarge": remembered(0.35, "node hour"),
  "rds.t4g.micro": remembered(0.016, "hour, one zone"),
  "rds.t4g.medium": remembered(0.065, "hour, one zone"),
  "rds.r7g.large": remembered(0.239, "hour, one zone"),
  "rds storage": remembered(0.115, "GB and month, one zone"),
  "t4g.small": remembered(0.0168, "hour"),
  "t4g.medium": remembered(0.0336, "hour"),
  "t4g.large": remembered(0.0672, "hour"),
  "r7g.xlarge": remembered(0.2142, "hour"),
  "r7g.8xlarge": remembered(1.7136, "hour"),
  "gp3 storage": remembered(0.08, "GB and month"),
  "gp3 iops": remembered(0.005, "IOPS above 3,000 and month"),
  "gp3 throughput": remembered(0.04, "MB/s above 125 and month"),
  "nat gateway": remembered(0.045, "hour"),
  endpoint: remembered(0.01, "hour and zone"),
  "cloudwatch alarm": remembered(0.1, "month"),
  "log data": remembered(0.5, "GB"),
} as const satisfies Readonly<Record<string, Price>>;

/** @throws RangeError for a part whose price nobody entered: a plan must not leave it out. */
export function priceOf(part: string): number {
  if (!Object.hasOwn(PRICES, part)) throw new RangeError(`no price for ${part}: enter it in infra/config/prices.ts`);
  return PRICES[part as keyof typeof PRICES].usd;
}
