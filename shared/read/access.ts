/**
 * Which rows a caller may see: those of some sources, or all. What is aggregated over all sources (hot values, `windows`) is for callers who may see all;
 * the others' aggregates are computed from the rows they may see, so that nothing of another source is returned, counted or implied.
 */

export interface Access {
  readonly sources: "all" | ReadonlySet<string>;
}

export const ALL_SOURCES: Access = { sources: "all" };

/** A row without a source is for callers who may see all. */
export function maySee({ sources }: Access, source: string | null): boolean {
  return sources === "all" || (source !== null && source !== "" && sources.has(source));
}

/** Equal for equal rights: answers may be shared between the callers. */
export function rightsOf({ sources }: Access): string {
  return sources === "all" ? "all" : JSON.stringify([...sources].toSorted());
}
