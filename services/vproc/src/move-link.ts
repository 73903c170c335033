// What source and target of a move say on their out-of-line stream: images, the logs of the standard
// streams, and an end mark. Each message is one msgpack array, the kind first. The control of the move
// (restore, commit, abort) goes by ICS, never here.
import { streamState } from '@ssi/contracts';
import { Packr } from 'msgpackr';
import { z } from 'zod';

const kind = { streams: 1, log: 2, image: 3, end: 4, ahead: 5 } as const;
const bytes = z.custom<Uint8Array>((v) => v instanceof Uint8Array);

/** Before any log: which streams come, so that the target can make them. */
const streamsMessage = z.tuple([
  z.literal(kind.streams),
  z.object({
    owner: z.int(),
    states: z.array(streamState),
    uid: z.int(),
    gid: z.int(),
    tty: z.object({ external: z.string(), rows: z.int(), cols: z.int() }).optional(),
  }),
]);
const logMessage = z.tuple([
  z.literal(kind.log),
  z.int(),
  streamState.shape.name,
  z.int().min(0),
  bytes,
]);
const imageMessage = z.tuple([
  z.literal(kind.image),
  z.string().max(255),
  z.int().min(0),
  z.boolean(),
  bytes,
]);
/** All was sent: so many bytes of images. */
const endMessage = z.tuple([z.literal(kind.end), z.int().min(0)]);

/** Before `end`: so many bytes went by the second connection, and the target has said that it has them. */
const aheadMessage = z.tuple([z.literal(kind.ahead), z.int().min(0)]);

const moveMessage = z.union([streamsMessage, logMessage, imageMessage, endMessage, aheadMessage]);
export type MoveMessage = z.infer<typeof moveMessage>;
export type StreamsOffer = z.infer<typeof streamsMessage>[1];

export const moveKind = kind;
const packr = new Packr({ useRecords: false });

export const encodeMove = (message: MoveMessage): Uint8Array => packr.pack(message);

/** undefined: not a message of this protocol. */
export function decodeMove(data: Uint8Array): MoveMessage | undefined {
  try {
    const parsed = moveMessage.safeParse(packr.unpack(data));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
