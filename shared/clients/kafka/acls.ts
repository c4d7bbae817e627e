/** Kafka's own access lists, by kafkajs' admin client. They rule principals by SCRAM and certificate; IAM principals never meet them. */
import kafkajs, { type AclEntry } from "kafkajs";
import type { KafkaRights } from "../../events/kafka-rights.ts";
import { withAdmin } from "./admin.ts";
import type { ClusterAddress } from "./kafkajs-client.ts";

const { AclResourceTypes, AclOperationTypes, AclPermissionTypes, ResourcePatternTypes } = kafkajs;

const RESOURCES = { topic: AclResourceTypes.TOPIC, group: AclResourceTypes.GROUP, "transactional-id": AclResourceTypes.TRANSACTIONAL_ID };
const OPERATIONS = { read: AclOperationTypes.READ, write: AclOperationTypes.WRITE, describe: AclOperationTypes.DESCRIBE };

/** One line of an access list. Read and write each bring the right to describe with them. */
export interface Grant {
  /** `User:NAME` */
  readonly principal: string;
  readonly resource: keyof typeof RESOURCES;
  readonly name: string;
  /** Of every name that begins so. */
  readonly isPrefix: boolean;
  readonly operation: keyof typeof OPERATIONS;
}

export function grantsOf(
  principal: string,
  { read, write, describe = [], groups, describeGroups = [], transactionalIdPrefix }: KafkaRights,
): Grant[] {
  const literal = { principal, isPrefix: false } as const;
  return [
    ...read.map((name): Grant => ({ ...literal, resource: "topic", name, operation: "read" })),
    ...write.map((name): Grant => ({ ...literal, resource: "topic", name, operation: "write" })),
    ...describe.map((name): Grant => ({ ...literal, resource: "topic", name, operation: "describe" })),
    ...groups.map((name): Grant => ({ ...literal, resource: "group", name, operation: "read" })),
    ...describeGroups.map((name): Grant => ({ ...literal, resource: "group", name, operation: "describe" })),
    ...(transactionalIdPrefix === undefined
      ? []
      : [{ principal, resource: "transactional-id", name: transactionalIdPrefix, isPrefix: true, operation: "write" } satisfies Grant]),
  ];
}

/** The same grant has the same text, another one another. */
export function grantText({ principal, resource, name, isPrefix, operation }: Grant): string {
  return `${principal} may ${operation} ${resource} ${name}${isPrefix ? "*" : ""}`;
}

function entryOf({ resource, name, isPrefix, principal, operation }: Grant): AclEntry {
  return {
    resourceType: RESOURCES[resource],
    resourceName: name,
    resourcePatternType: isPrefix ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
    principal,
    host: "*",
    operation: OPERATIONS[operation],
    permissionType: AclPermissionTypes.ALLOW,
  };
}

/** What is there already stays as it is. */
export async function addGrants(address: ClusterAddress, grants: readonly Grant[]): Promise<void> {
  if (grants.length === 0) return;
  await withAdmin(address, (admin) => admin.createAcls({ acl: grants.map(entryOf) }));
}

/** These and no others; what is not there is passed over. */
export async function removeGrants(address: ClusterAddress, grants: readonly Grant[]): Promise<void> {
  if (grants.length === 0) return;
  await withAdmin(address, (admin) => admin.deleteAcls({ filters: grants.map(entryOf) }));
}

/** All lines about a principal as texts, those in a form that we never write too: refusals, other operations, single hosts. */
export async function accessListOf(address: ClusterAddress, principal: string): Promise<string[]> {
  const found = await withAdmin(address, (admin) =>
    admin.describeAcls({
      resourceType: AclResourceTypes.ANY,
      resourcePatternType: ResourcePatternTypes.ANY,
      operation: AclOperationTypes.ANY,
      permissionType: AclPermissionTypes.ANY,
      principal,
    }),
  );
  return found.resources.flatMap(({ resourceType, resourceName, resourcePatternType, acls }) => {
    const resource = keyOf(RESOURCES, resourceType);
    const isPrefix = resourcePatternType === ResourcePatternTypes.PREFIXED;
    return acls.map(({ host, operation, permissionType }) => {
      const known = keyOf(OPERATIONS, operation);
      if (resource !== undefined && known !== undefined && host === "*" && permissionType === AclPermissionTypes.ALLOW)
        return grantText({ principal, resource, name: resourceName, isPrefix, operation: known });
      const verb = permissionType === AclPermissionTypes.ALLOW ? "may" : "may not";
      const what = `${AclOperationTypes[operation]} ${AclResourceTypes[resourceType]} ${resourceName}${isPrefix ? "*" : ""}`.toLowerCase();
      return `${principal} ${verb} ${what} from ${host}`;
    });
  });
}

function keyOf<K extends string>(codes: Readonly<Record<K, number>>, code: number): K | undefined {
  return (Object.keys(codes) as K[]).find((key) => codes[key] === code);
}
