/** Error codes of the protocol (kafka.apache.org/protocol#protocol_error_codes) and what each obliges us to do. */
import { protocolErrorsCodesById } from "@platformatic/kafka";
import { OperatingError, TransientError } from "../../kernel/errors.ts";

export const CODE = {
  unknownServerError: -1,
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeaderOrFollower: 6,
  requestTimedOut: 7,
  messageTooLarge: 10,
  coordinatorLoadInProgress: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  topicAuthorizationFailed: 29,
  groupAuthorizationFailed: 30,
  clusterAuthorizationFailed: 31,
  offsetMetadataTooLarge: 12,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidTxnState: 48,
  invalidProducerIdMapping: 49,
  invalidTransactionTimeout: 50,
  concurrentTransactions: 51,
  transactionCoordinatorFenced: 52,
  transactionalIdAuthorizationFailed: 53,
  kafkaStorageError: 56,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  offsetNotAvailable: 78,
  unstableOffsetCommit: 88,
  producerFenced: 90,
} as const;

export function nameOfCode(code: number): string {
  return protocolErrorsCodesById[code] ?? `error ${code}`;
}

/** The broker says that nothing happened and that a later try, perhaps elsewhere, may work. */
const TRY_AGAIN: ReadonlySet<number> = new Set([
  CODE.leaderNotAvailable,
  CODE.notLeaderOrFollower,
  CODE.coordinatorLoadInProgress,
  CODE.coordinatorNotAvailable,
  CODE.notCoordinator,
  CODE.notEnoughReplicas,
  CODE.kafkaStorageError,
  CODE.fencedLeaderEpoch,
  CODE.unknownLeaderEpoch,
  CODE.offsetNotAvailable,
  CODE.unstableOffsetCommit,
]);

/** Another owner of the transactional id exists. INVALID_PRODUCER_ID_MAPPING too: taking it as recoverable can revive a zombie (KAFKA-18019). */
const FENCED: ReadonlySet<number> = new Set([
  CODE.invalidProducerEpoch,
  CODE.producerFenced,
  CODE.invalidProducerIdMapping,
  CODE.transactionCoordinatorFenced,
]);

export function isFencing(code: number): boolean {
  return FENCED.has(code);
}

/** A refusal by the broker. `retriable`: see {@link TRY_AGAIN}. */
export class BrokerError extends OperatingError {
  readonly brokerCode: number;
  readonly retriable: boolean;

  constructor(what: string, brokerCode: number, options: { readonly code?: string; readonly hint?: string } = {}) {
    super(`${what}: ${nameOfCode(brokerCode)}`, { code: options.code ?? "KAFKA_REFUSED", hint: options.hint });
    this.brokerCode = brokerCode;
    this.retriable = TRY_AGAIN.has(brokerCode);
  }
}

/** The connection failed: the request may or may not have been carried out. */
export class ConnectionLostError extends TransientError {}

export function brokerError(what: string, code: number): BrokerError {
  switch (code) {
    case CODE.offsetOutOfRange:
      return new BrokerError(what, code, {
        code: "KAFKA_OFFSET_OUT_OF_RANGE",
        hint: "records were deleted before they were read: compare the topic's retention with the outage, then choose a start explicitly",
      });
    case CODE.unknownTopicOrPartition:
      return new BrokerError(what, code, {
        code: "KAFKA_UNKNOWN_TOPIC",
        hint: "create the topics: npm start does it locally, cdk deploy in the cloud",
      });
    case CODE.messageTooLarge:
    case CODE.recordListTooLarge:
      return new BrokerError(what, code, {
        code: "KAFKA_RECORD_TOO_LARGE",
        hint: "raise the topic's max.message.bytes or send less per record",
      });
    case CODE.topicAuthorizationFailed:
    case CODE.groupAuthorizationFailed:
    case CODE.clusterAuthorizationFailed:
    case CODE.transactionalIdAuthorizationFailed:
      return new BrokerError(what, code, {
        code: "KAFKA_AUTH",
        hint: "grant this principal the topic, group or transactional id in its ACLs",
      });
    case CODE.outOfOrderSequence:
    case CODE.duplicateSequence:
      return new BrokerError(what, code, { code: "KAFKA_SEQUENCE", hint: "another process sends under the same producer id" });
    case CODE.offsetMetadataTooLarge:
      return new BrokerError(what, code, {
        code: "KAFKA_METADATA_TOO_LARGE",
        hint: "raise the brokers' offset.metadata.max.bytes (default 4096)",
      });
    case CODE.invalidTransactionTimeout:
      return new BrokerError(what, code, {
        code: "KAFKA_TRANSACTION_TIMEOUT",
        hint: "raise the brokers' transaction.max.timeout.ms or ask for a shorter transaction",
      });
    default:
      return new BrokerError(what, code);
  }
}
