/** A broker with a listener for strangers: TLS, and all SASL mechanisms. Users: alice by PLAIN, bob by SCRAM, any unsigned token by OAUTHBEARER. */
import { pbkdf2Sync } from "node:crypto";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { alterUserScramCredentialsV0, Connection } from "@platformatic/kafka";
import { kafkaClassPath, part, ROOT } from "#local/services/parts.ts";
import { freePorts } from "#local/services/port.ts";
import { exchange, launch, type RunningServer } from "#local/services/running-server.ts";
import { selfSigned } from "./self-signed.ts";

export interface SecureKafka {
  readonly server: RunningServer;
  /** TLS and SASL. */
  readonly address: string;
  readonly certificate: string;
  readonly passwords: { readonly alice: string; readonly bob: string };
}

const MODULES = "org.apache.kafka.common.security";
const ITERATIONS = 4_096;
const SCRAM = [
  { mechanism: 1, digest: "sha256", size: 32 },
  { mechanism: 2, digest: "sha512", size: 64 },
] as const;

export interface SecureKafkaOptions {
  /** How long a session by SCRAM-SHA-256 lasts before the broker closes it (KIP-368). */
  readonly sessionMs: number;
  /** More users by SCRAM; each has its name as password. */
  readonly users?: readonly string[];
  /** Nobody may do anything that no access list allows, but for whoever comes by the plain listener. */
  readonly isClosed?: boolean;
}

const CLOSED = `authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
`;

export async function startSecureKafka(dir: string, { sessionMs, users = [], isClosed = false }: SecureKafkaOptions): Promise<SecureKafka> {
  const [plainPort, securePort, controllerPort] = (await freePorts(3)) as [number, number, number];
  const { key, certificate } = selfSigned();
  const passwords = { alice: "wonderland", bob: "builder" };
  await cp(part("kafka/formatted"), join(dir, "log"), { recursive: true });
  await writeFile(join(dir, "keystore.pem"), key + certificate);
  const here = join(ROOT, "local/services/kafka");
  const properties = join(dir, "server.properties");
  await writeFile(
    properties,
    `${await readFile(join(here, "broker.properties"), "utf8")}
log.dirs=${join(dir, "log")}
listeners=PLAINTEXT://127.0.0.1:${plainPort},SECURE://127.0.0.1:${securePort},CONTROLLER://127.0.0.1:${controllerPort}
advertised.listeners=PLAINTEXT://127.0.0.1:${plainPort},SECURE://127.0.0.1:${securePort}
controller.quorum.voters=1@127.0.0.1:${controllerPort}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location=${join(dir, "keystore.pem")}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.secure.plain.sasl.jaas.config=${MODULES}.plain.PlainLoginModule required user_alice="${passwords.alice}";
listener.name.secure.scram-sha-256.connections.max.reauth.ms=${sessionMs}
listener.name.secure.scram-sha-256.sasl.jaas.config=${MODULES}.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=${MODULES}.scram.ScramLoginModule required;
listener.name.secure.oauthbearer.sasl.jaas.config=${MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="x";
listener.name.secure.oauthbearer.sasl.server.callback.handler.class=${MODULES}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler
${isClosed ? CLOSED : ""}`,
  );
  const server = await launch(
    "kafka",
    { dir },
    {
      port: plainPort,
      address: `127.0.0.1:${plainPort}`,
      child: {
        command: part("bin/java"),
        args: ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", kafkaClassPath(), "kafka.Kafka", properties],
        cwd: dir,
        environment: { LC_ALL: "C" },
      },
      // ApiVersions v0: the broker listens and answers.
      probe: () => exchange(plainPort, Buffer.from("0000000a0012000000000001ffff", "hex"), { want: 10 }).then(() => undefined),
      stop: (child) => child.stop({ limitMs: 10_000 }),
    },
  );
  await addScramUser(plainPort, "bob", passwords.bob);
  for (const user of users) await addScramUser(plainPort, user, user);
  return { server, address: `127.0.0.1:${securePort}`, certificate, passwords };
}

async function addScramUser(port: number, name: string, password: string): Promise<void> {
  const connection = new Connection("test");
  await connection.connect("127.0.0.1", port);
  const salt = Buffer.from("weir test salt");
  // The broker takes a user once per request.
  for (const { mechanism, digest, size } of SCRAM) {
    const saltedPassword = pbkdf2Sync(password, salt, ITERATIONS, size, digest);
    await alterUserScramCredentialsV0.api.async(connection, [], [{ name, mechanism, iterations: ITERATIONS, salt, saltedPassword }]);
  }
  await connection.close();
}

/** An unsigned token (RFC 7519, alg none). */
export function unsignedToken(subject: string, expiresAtS: number): string {
  const part64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part64({ alg: "none" })}.${part64({ sub: subject, iat: Math.floor(Date.now() / 1_000), exp: expiresAtS })}.`;
}
