/** Exceptions from rules, each with its reason, next to the resource that needs it. */
import { Stack, Validations } from "aws-cdk-lib";
import { CfnManagedPolicy, CfnPolicy, CfnRole } from "aws-cdk-lib/aws-iam";
import { flattenCfnReference } from "cdk-nag/lib/utils/flatten-cfn-reference.js";
import type { IConstruct } from "constructs";

export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  for (const [id, reason] of Object.entries(reasons)) Validations.of(construct).acknowledge({ id, reason });
}

interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
}

/**
 * cdk-nag wants every star of a policy acknowledged by itself, in full. Here a pattern stands for stars of one kind and reason; what matches none stays
 * a finding. Call it when the policies below are complete.
 */
export function acknowledgeWildcards(scope: IConstruct, reasons: readonly (readonly [pattern: RegExp, reason: string])[]): void {
  for (const node of scope.node.findAll()) {
    if (!(node instanceof CfnPolicy || node instanceof CfnManagedPolicy || node instanceof CfnRole)) continue;
    for (const finding of starsOf(node)) {
      const known = reasons.find(([pattern]) => pattern.test(finding));
      if (known !== undefined) acknowledge(node, { [`AwsSolutions-IAM5[${finding}]`]: known[1] });
    }
  }
}

function starsOf(node: CfnPolicy | CfnManagedPolicy | CfnRole): string[] {
  const stack = Stack.of(node);
  const documents: unknown[] =
    node instanceof CfnPolicy || node instanceof CfnManagedPolicy
      ? [stack.resolve(node.policyDocument)]
      : ((stack.resolve(node.policies) ?? []) as { policyDocument: unknown }[]).map(({ policyDocument }) => stack.resolve(policyDocument));
  const statements = documents.flatMap((document) => (document as { Statement?: Statement[] }).Statement ?? []);
  return statements
    .filter(({ Effect }) => Effect === "Allow")
    .flatMap(({ Action, Resource }) => [
      ...listOf(Action).map((action) => `Action::${String(action)}`),
      ...listOf(Resource).map((resource) => `Resource::${flattenCfnReference(resource)}`),
    ])
    .filter((finding) => finding.includes("*"));
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

/** What aws-cdk-lib brings to run its own custom resources. */
export function acknowledgeProviders(stack: Stack): void {
  for (const node of stack.node.children) {
    if (!/^(AWS679f|Custom::|LogRetention)/.test(node.node.id)) continue;
    acknowledge(node, {
      "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]":
        "the role of aws-cdk-lib's own provider: it writes its log and nothing else by this policy",
      "AwsSolutions-L1": "the runtime of its own provider is chosen by aws-cdk-lib",
    });
  }
}
