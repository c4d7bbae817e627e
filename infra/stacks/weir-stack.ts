/** What every stack has in common: its name, its tags, its region, its three zones and whether it may be deleted. */
import { Fn, RemovalPolicy, Stack } from "aws-cdk-lib";
import type { Construct } from "constructs";
import { type Environment, globalName } from "../config/environment.ts";

export interface WeirStackProps {
  readonly environment: Environment;
  /** Says in the bill and in an audit what kind of data is inside. */
  readonly dataClass: "none" | "events" | "metadata";
}

export abstract class WeirStack extends Stack {
  readonly config: Environment;
  /** Of what holds data. */
  readonly removalPolicy: RemovalPolicy;

  constructor(scope: Construct, concern: string, { environment, dataClass }: WeirStackProps) {
    super(scope, `${globalName(environment)}-${concern}`, {
      env: { region: environment.region },
      terminationProtection: environment.isDurable,
      // Since explicitStackTags, Tags.of(stack) would no longer tag the stack.
      tags: { project: "weir", environment: environment.name, concern, "cost-centre": `weir-${environment.name}`, "data-class": dataClass },
    });
    this.config = environment;
    this.removalPolicy = environment.isDurable ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;
  }

  /** The base class would ask AWS and fail without an account; CloudFormation answers this at deployment. */
  override get availabilityZones(): string[] {
    return [0, 1, 2].map((zone) => Fn.select(zone, Fn.getAzs()));
  }

  /** `/weir/ENVIRONMENT/...`: how stacks that live and die apart find each other. */
  parameterName(name: string): string {
    return `/weir/${this.config.name}/${name}`;
  }
}
