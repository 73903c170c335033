// The one key: term, master and view together, so that each takeover and each commit is one
// compare-and-set. JSON, for people with a NATS command line.
import { type View, view } from '@ssi/contracts';
import { z } from 'zod';

export const recordKey = 'membership';

const clusterRecord = z.object({
  version: z.literal(1),
  cluster: z.string(),
  /** Random, made with the cluster: another one's record is never obeyed. */
  clusterId: z.string(),
  /** Random for each write: a writer whose answer was lost knows its own again. */
  writeId: z.string(),
  view,
});
export type ClusterRecord = z.infer<typeof clusterRecord>;

export const encodeRecord = (record: ClusterRecord): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(record));

/** undefined: not a record (somebody else's data, or cut off). */
export function decodeRecord(bytes: Uint8Array): ClusterRecord | undefined {
  try {
    const parsed = clusterRecord.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

export const recordOf = (q: {
  cluster: string;
  clusterId: string;
  writeId: string;
  view: View;
}): ClusterRecord => ({ version: 1, ...q });
