/**
 * The read API: private REST, reachable through one interface endpoint only, each request signed by IAM. Paths are rights (shared/read/api-paths.ts): whoever
 * may see one source is granted the paths behind `/sources/SOURCE/` and no others.
 */
import { RemovalPolicy, Stack } from "aws-cdk-lib";
import * as apigateway from "aws-cdk-lib/aws-apigateway";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import * as ssm from "aws-cdk-lib/aws-ssm";
import type { Construct } from "constructs";
import { environmentOf } from "#shared/config/config.ts";
import { operationVariables } from "#shared/config/operation-environment.ts";
import { API_PATHS, SOURCES_PREFIX } from "#shared/read/api-paths.ts";
import { acknowledge, acknowledgeWildcards } from "../checks/acknowledge.ts";
import { globalName } from "../config/environment.ts";
import { ApiFunction, apiName } from "../constructs/api-function.ts";
import { logGroup } from "../constructs/log-group.ts";
import { PORTS } from "../constructs/security-groups.ts";
import type { ClickhouseEndpoint } from "./clickhouse-stack.ts";
import type { KeyDomain } from "./security-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

const LANE = "live";
/** Of the paths and of what they answer. */
const VERSION = "v1";

export interface ApiStackProps extends WeirStackProps {
  readonly codeFolder: string;
  readonly vpc: ec2.IVpc;
  readonly groups: Readonly<Record<"api" | "apiEndpoint", ec2.ISecurityGroup>>;
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;
  readonly valkey: { readonly addresses: readonly string[]; readonly readerLogin: secretsmanager.ISecret };
  readonly clickhouse: ClickhouseEndpoint;
}

export class ApiStack extends WeirStack {
  constructor(scope: Construct, props: ApiStackProps) {
    super(scope, "api", props);
    const { vpc, groups } = props;
    const endpoint = this.#addEndpoint(vpc, groups.apiEndpoint);
    const api = this.#addApi(endpoint, props.keys.operations);
    this.#addMethods(api, this.#addFunction(props));
    this.#addReaderPolicy(api);
    new ssm.StringParameter(this, "Url", {
      parameterName: this.parameterName("api/url"),
      // By the endpoint's own name: private DNS would send every other private and public API's callers in this network here.
      stringValue: `https://${api.restApiId}-${endpoint.vpcEndpointId}.execute-api.${this.region}.${this.urlSuffix}/${VERSION}`,
    });
  }

  #addEndpoint(vpc: ec2.IVpc, securityGroup: ec2.ISecurityGroup): ec2.InterfaceVpcEndpoint {
    const { region, account, partition } = Stack.of(this);
    // One zone where endpoints are spared, all of them else.
    const subnets = this.config.network.hasInterfaceEndpoints ? vpc.privateSubnets : vpc.privateSubnets.slice(0, 1);
    const endpoint = new ec2.InterfaceVpcEndpoint(this, "Endpoint", {
      vpc,
      service: ec2.InterfaceVpcEndpointAwsService.APIGATEWAY,
      privateDnsEnabled: false,
      securityGroups: [securityGroup],
      open: false,
      subnets: { subnets },
    });
    endpoint.addToPolicy(
      new iam.PolicyStatement({
        principals: [new iam.AnyPrincipal()],
        actions: ["execute-api:Invoke"],
        resources: [`arn:${partition}:execute-api:${region}:${account}:*`],
        conditions: { StringEquals: { "aws:PrincipalAccount": account } },
      }),
    );
    return endpoint;
  }

  #addApi(endpoint: ec2.InterfaceVpcEndpoint, key: kms.IKey): apigateway.RestApi {
    const { ratePerS, burst } = this.config.api;
    const accessLog = logGroup(this, "AccessLog", { environment: this.config, key });
    const api = new apigateway.RestApi(this, "Api", {
      restApiName: apiName(this.config),
      description: `weir ${this.config.name}: users, sessions, windows, events, metrics`,
      endpointConfiguration: { types: [apigateway.EndpointType.PRIVATE], vpcEndpoints: [endpoint] },
      policy: new iam.PolicyDocument({ statements: accessStatements(endpoint, this.account) }),
      // Of the account and region, not of this API: what one environment takes away when it goes, the others would miss.
      cloudWatchRole: true,
      cloudWatchRoleRemovalPolicy: RemovalPolicy.RETAIN,
      defaultMethodOptions: { authorizationType: apigateway.AuthorizationType.IAM },
      deployOptions: {
        stageName: VERSION,
        accessLogDestination: new apigateway.LogGroupLogDestination(accessLog),
        accessLogFormat: apigateway.AccessLogFormat.custom(JSON.stringify(ACCESS_LOG)),
        loggingLevel: apigateway.MethodLoggingLevel.ERROR,
        dataTraceEnabled: false,
        tracingEnabled: true,
        throttlingRateLimit: ratePerS,
        throttlingBurstLimit: burst,
      },
    });
    acknowledge(api, {
      "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]":
        "the role of the account's API Gateway: it writes logs and nothing else by this policy, which AWS prescribes",
      "AwsSolutions-APIG3": "reachable only from this network by signed requests of this account: there is no internet to filter",
    });
    return api;
  }

  #addFunction({ environment, codeFolder, vpc, groups, keys, valkey, clickhouse }: ApiStackProps): ApiFunction {
    return new ApiFunction(this, "Reads", {
      environment,
      codeFolder,
      vpc,
      securityGroup: groups.api,
      keys,
      secretArns: [valkey.readerLogin.secretArn, clickhouse.apiLogin.secretArn],
      variables: {
        ...environmentOf({
          environment: environment.name,
          lane: LANE,
          generation: environment.generation,
          partitions: environment.partitions,
          clickhouse: clickhouse.url,
          metrics: "emf",
          // One document a second and environment, not one per request.
          metricsIntervalMs: 1_000,
        }),
        ...operationVariables({
          redisAddresses: valkey.addresses.map((address) => `${address}:${PORTS.valkey}`).join(","),
          redisSecret: valkey.readerLogin.secretArn,
          clickhouseSecret: clickhouse.apiLogin.secretArn,
          // A certificate is no secret; the nodes have written it when this stack is deployed.
          clickhouseCa: ssm.StringParameter.valueForStringParameter(this, clickhouse.caParameter),
        }),
      },
    });
  }

  #addMethods(api: apigateway.RestApi, { alias }: ApiFunction): void {
    const integration = new apigateway.LambdaIntegration(alias, { allowTestInvoke: false });
    const requestValidator = api.addRequestValidator("Parameters", { validateRequestParameters: true, validateRequestBody: true });
    for (const prefix of ["", SOURCES_PREFIX]) {
      for (const path of Object.values(API_PATHS)) {
        const names = [...`${prefix}${path}`.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
        const method = api.root.resourceForPath(`${prefix}${path}`).addMethod("GET", integration, {
          requestValidator,
          requestParameters: Object.fromEntries(names.map((name) => [`method.request.path.${name}`, true])),
        });
        acknowledge(method, { "AwsSolutions-COG4": "callers are services and operators with roles: IAM knows them, a user pool does not" });
      }
    }
  }

  /** For whoever may see all; who may see some gets a policy of his own, docs/API.md. */
  #addReaderPolicy(api: apigateway.RestApi): void {
    const all = api.arnForExecuteApi("GET", "/*", VERSION);
    const policy = new iam.ManagedPolicy(this, "ReaderPolicy", {
      managedPolicyName: `${globalName(this.config)}-api-reader`,
      description: "may ask the read API everything, of all sources",
      statements: [new iam.PolicyStatement({ actions: ["execute-api:Invoke"], resources: [all] })],
    });
    acknowledgeWildcards(policy, [[/:execute-api:.*\/GET\/\*$/, "every path of this one API, to read: that is what the policy is for"]]);
  }
}

/**
 * A private API needs a policy of its own. The root of the account stands for "whom IAM allows"; a star would let in everybody who can sign (API Gateway guide,
 * "How API Gateway resource policies affect authorization workflow", table B).
 */
function accessStatements(endpoint: ec2.InterfaceVpcEndpoint, account: string): iam.PolicyStatement[] {
  const common = { actions: ["execute-api:Invoke"], resources: ["execute-api:/*"] };
  return [
    new iam.PolicyStatement({ ...common, principals: [new iam.AccountPrincipal(account)] }),
    new iam.PolicyStatement({
      ...common,
      effect: iam.Effect.DENY,
      principals: [new iam.AnyPrincipal()],
      conditions: { StringNotEquals: { "aws:SourceVpce": endpoint.vpcEndpointId } },
    }),
  ];
}

/** Who asked what, and what became of it. No value that was answered. */
const ACCESS_LOG = {
  time: "$context.requestTime",
  requestId: "$context.requestId",
  caller: "$context.identity.userArn",
  path: "$context.path",
  status: "$context.status",
  error: "$context.error.message",
  latencyMs: "$context.responseLatency",
  bytes: "$context.responseLength",
} as const;
