// The codec of frames: one msgpack array each, fields in fixed order, the body as bytes of its own so
// that duplicates are recognised before anything is decoded. Meaning of the fields: contracts/envelope.ts.
import {
  type CallFrame,
  type Failure,
  frameKind,
  type Reply,
  type ReplyFrame,
  type Source,
} from '@ssi/contracts';
import { Packr } from 'msgpackr';

/** Largest frame, bytes: half of what a bus takes by default. What is bigger goes out of line. */
export const frameMax = 512 * 1024;

/**
 * What is encoded is cut from pieces of memory of this size, bytes: the codec's own 8 KiB last for some six
 * calls only, and making and collecting them took about 4 % of the CPU of a call.
 */
const slabBytes = 64 * 1024;

const packr = new Packr({ useRecords: false });
packr.useBuffer(Buffer.allocUnsafeSlow(slabBytes));
const none = new Uint8Array(0);

export const encodeBody = (value: unknown): Uint8Array => packr.pack(value);
export const decodeBody = (bytes: Uint8Array): unknown => packr.unpack(bytes);

export function encodeCall(f: CallFrame): Uint8Array {
  const i = f.from.incarnation;
  return packr.pack([
    f.kind,
    f.contract,
    f.from.node,
    f.from.service,
    f.from.bootId,
    i ? i.bootCount : 0,
    i ? i.bootId : '',
    f.channel,
    f.seq,
    f.attempt,
    f.transid,
    f.toBootId,
    f.body,
    f.priority,
    f.version,
    f.op,
    f.to,
    f.lowWater,
    f.timeoutMs,
    f.traceparent ?? '',
    f.finished,
  ]);
}

export function encodeReply(f: ReplyFrame): Uint8Array {
  const i = f.from.incarnation;
  return packr.pack([
    f.kind,
    f.contract,
    f.from.node,
    f.from.service,
    f.from.bootId,
    i ? i.bootCount : 0,
    i ? i.bootId : '',
    f.channel,
    f.seq,
    f.attempt,
    f.transid,
    f.toBootId,
    f.body,
    f.servedMs,
  ]);
}

const count = (v: unknown): v is number =>
  typeof v === 'number' && v >= 0 && Number.isSafeInteger(v);

/** undefined: not a frame of ours (garbage, or a kind this version does not know). */
export function decodeFrame(bytes: Uint8Array): CallFrame | ReplyFrame | undefined {
  let a: unknown;
  try {
    a = packr.unpack(bytes);
  } catch {
    return undefined;
  }
  if (!Array.isArray(a) || a.length < 14) return undefined;
  // By index: destructuring walks the array's iterator, which costs more than all the checks.
  const kind: unknown = a[0];
  const contract: unknown = a[1];
  const node: unknown = a[2];
  const service: unknown = a[3];
  const bootId: unknown = a[4];
  const bootCount: unknown = a[5];
  const incBoot: unknown = a[6];
  const channel: unknown = a[7];
  const seq: unknown = a[8];
  const attempt: unknown = a[9];
  const transid: unknown = a[10];
  const toBootId: unknown = a[11];
  const body: unknown = a[12];
  if (
    !count(kind) ||
    typeof contract !== 'string' ||
    !count(node) ||
    typeof service !== 'string' ||
    typeof bootId !== 'string' ||
    !count(bootCount) ||
    typeof incBoot !== 'string' ||
    !count(channel) ||
    !count(seq) ||
    !count(attempt) ||
    !count(transid) ||
    typeof toBootId !== 'string' ||
    !(body instanceof Uint8Array)
  )
    return undefined;
  const from: Source =
    bootCount > 0
      ? { node, service, bootId, incarnation: { bootCount, bootId: incBoot } }
      : { node, service, bootId };
  if (kind >= frameKind.reply) {
    const servedMs: unknown = a[13];
    if (typeof servedMs !== 'number') return undefined;
    return { kind, contract, from, channel, seq, attempt, transid, toBootId, body, servedMs };
  }
  const priority: unknown = a[13];
  const version: unknown = a[14];
  const op: unknown = a[15];
  const to: unknown = a[16];
  const lowWater: unknown = a[17];
  const timeoutMs: unknown = a[18];
  const traceparent: unknown = a[19];
  const finished: unknown = a[20];
  if (
    !count(priority) ||
    priority > 3 ||
    !count(version) ||
    typeof op !== 'string' ||
    !count(to) ||
    !count(lowWater) ||
    typeof timeoutMs !== 'number' ||
    typeof traceparent !== 'string' ||
    !Array.isArray(finished) ||
    !finished.every(count)
  )
    return undefined;
  const call: CallFrame = {
    kind,
    contract,
    from,
    channel,
    seq,
    attempt,
    transid,
    toBootId,
    body,
    priority,
    version,
    op,
    to,
    lowWater,
    timeoutMs,
    finished,
  };
  if (traceparent !== '') call.traceparent = traceparent;
  return call;
}

export const isCallFrame = (f: CallFrame | ReplyFrame): f is CallFrame => f.kind < frameKind.reply;

export const emptyBody = none;

/** A Reply on the wire: [1, value] or [0, errno, detail, node?]. */
export function encodeResult(r: Reply<unknown>): Uint8Array {
  if (r.ok) return encodeBody([1, r.value]);
  return encodeBody(r.node === undefined ? [0, r.errno, r.detail] : [0, r.errno, r.detail, r.node]);
}

export function decodeResult(bytes: Uint8Array): Reply<unknown> | undefined {
  try {
    const a = decodeBody(bytes);
    if (!Array.isArray(a)) return undefined;
    if (a[0] === 1) return { ok: true, value: a[1] };
    const failure = { ok: false as const, errno: a[1], detail: String(a[2]) } as Failure;
    return typeof a[3] === 'number' ? { ...failure, node: a[3] } : failure;
  } catch {
    return undefined;
  }
}
