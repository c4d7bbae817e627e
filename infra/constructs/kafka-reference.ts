/** The cluster as a stack sees it that comes later: its names by SSM, so that neither stack holds the other. */
import * as ssm from "aws-cdk-lib/aws-ssm";
import { KAFKA_PARAMETERS } from "../stacks/streaming-stack.ts";
import type { WeirStack } from "../stacks/weir-stack.ts";

export interface KafkaReference {
  readonly clusterArn: string;
  /** host:port[,host:port], TLS and IAM. */
  readonly bootstrapIam: string;
}

/** By itself, for who does not connect: a parameter that a template declares and nobody uses is a finding. */
export function kafkaClusterArn(stack: WeirStack): string {
  return ssm.StringParameter.valueForStringParameter(stack, stack.parameterName(KAFKA_PARAMETERS.clusterArn));
}

export function kafkaReference(stack: WeirStack): KafkaReference {
  const bootstrapIam = ssm.StringParameter.valueForStringParameter(stack, stack.parameterName(KAFKA_PARAMETERS.bootstrapIam));
  return { clusterArn: kafkaClusterArn(stack), bootstrapIam };
}
