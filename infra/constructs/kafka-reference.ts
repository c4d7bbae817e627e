/** The cluster as a stack sees it that comes later: its names by SSM, so that neither stack holds the other. */
import * as ssm from "aws-cdk-lib/aws-ssm";
import { KAFKA_PARAMETERS } from "../stacks/streaming-stack.ts";
import type { WeirStack } from "../stacks/weir-stack.ts";

export interface KafkaReference {
  readonly clusterArn: string;
  /** host:port[,host:port], TLS and IAM. */
  readonly bootstrapIam: string;
}

export function kafkaReference(stack: WeirStack): KafkaReference {
  const read = (name: string): string => ssm.StringParameter.valueForStringParameter(stack, stack.parameterName(name));
  return { clusterArn: read(KAFKA_PARAMETERS.clusterArn), bootstrapIam: read(KAFKA_PARAMETERS.bootstrapIam) };
}
