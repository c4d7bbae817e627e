/** A request of fixed version. */
export interface Api {
  readonly name: string;
  readonly key: number;
  readonly version: number;
  /** False: a version before KIP-482, without tagged fields in either header. */
  readonly flexible?: boolean;
  /** ApiVersions answers without tagged fields in the header, so that any client can read it. */
  readonly plainResponseHeader?: boolean;
}
