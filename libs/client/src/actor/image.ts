// An actor as bytes: everything that makes it go on elsewhere as if nothing had been. msgpack, so that
// events and replies may carry bytes. The version grows when a node could not read an older image.
import type { MachineSnapshotJson } from '@ssi/actor';
import { Packr } from 'msgpackr';
import { z } from 'zod';
import type { SenderLogJson } from './sender-log.ts';

/** An event that waits for its turn. */
export interface Letter {
  readonly sender: string;
  readonly seq: number;
  readonly event: { readonly type: string };
}

export interface ActorImage {
  readonly version: 1;
  readonly type: string;
  readonly uid: number;
  /** Stopped by a signal: stays so. */
  readonly stopped: boolean;
  /** xstate's snapshot and the time that remains of each timer. */
  readonly machine: MachineSnapshotJson;
  readonly mailbox: readonly Letter[];
  readonly senders: readonly (readonly [sender: string, log: SenderLogJson])[];
}

const seq = z.int().min(1);
const taken = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('pending') }),
  z.object({ kind: z.literal('reply'), value: z.unknown() }),
  z.object({ kind: z.literal('none') }),
]);
const image = z.object({
  version: z.literal(1),
  type: z.string(),
  uid: z.int().min(0),
  stopped: z.boolean(),
  machine: z.object({
    machine: z.unknown(),
    timers: z.array(
      z.object({
        id: z.string(),
        event: z.looseObject({ type: z.string() }),
        remainingMs: z.number().min(0),
      }),
    ),
    nextTimer: z.int().min(0),
  }),
  mailbox: z.array(
    z.object({ sender: z.string(), seq, event: z.looseObject({ type: z.string() }) }),
  ),
  senders: z.array(z.tuple([z.string(), z.tuple([seq, seq, z.array(z.tuple([seq, taken]))])])),
});

const packr = new Packr({ useRecords: false });

export const encodeImage = (q: ActorImage): Uint8Array => packr.pack(q);

/** undefined: not an image, or of another version. */
export function decodeImage(data: Uint8Array): ActorImage | undefined {
  try {
    const parsed = image.safeParse(packr.unpack(data));
    return parsed.success ? (parsed.data as ActorImage) : undefined;
  } catch {
    return undefined;
  }
}
