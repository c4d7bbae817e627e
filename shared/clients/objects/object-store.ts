/**
 * Objects by key: a bucket in the cloud, a folder on one machine. Two kinds of writing, and no other: an object that is created once and never
 * changes, and a pointer that is replaced whole by whoever has seen its latest state. A reader sees all of an object or none of it.
 */
export interface StoredObject {
  readonly key: string;
  readonly createdAtMs: number;
}

export interface ObjectContent {
  readonly bytes: Uint8Array;
  /** Names this content; another content has another. */
  readonly etag: string;
}

/** All methods may be called concurrently, by several processes. @throws UnavailableError OBJECTS_UNAVAILABLE when the store does not answer. */
export interface ObjectStore {
  /** For messages: `s3://bucket/prefix` or the folder. */
  readonly address: string;
  /** null = there is none; "unchanged" = it still is the content that `knownEtag` names. */
  read(
    key: string,
    options?: { readonly knownEtag?: string | undefined; readonly signal?: AbortSignal },
  ): Promise<ObjectContent | "unchanged" | null>;
  /** Durable when it resolves. "exists" = somebody wrote this key before, with whatever content; it is untouched. */
  createOnce(key: string, bytes: Uint8Array): Promise<"created" | "exists">;
  /**
   * Replaces the content that `knownEtag` names, null = there is none yet. "conflict" = it is another by now, and it is untouched. On a folder
   * the comparison and the replacement are two steps: writers there take turns by a lock of their own.
   */
  replace(key: string, bytes: Uint8Array, knownEtag: string | null): Promise<"replaced" | "conflict">;
  /** Keys that begin with `prefix`, in their order. */
  list(prefix: string): Promise<StoredObject[]>;
}
