// What only the router touches: whether an address answers at all, apart from any channel over it.
export interface Prober {
  /** Time to open a connection to host:port, ms; undefined: not within `timeoutMs`. */
  connectMs(host: string, port: number, timeoutMs: number): Promise<number | undefined>;
}
