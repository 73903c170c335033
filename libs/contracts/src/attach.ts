// What a client and services/vproc say to each other on an attached stream (opened by `vproc.attach`):
// the standard streams of a process as numbered bytes. Each message of the out-of-line stream is one
// msgpack array, the kind first. Offsets count from the first byte the process ever wrote or was sent,
// so both sides go on by offset after a broken connection, a restarted vproc or a move.
// A process with a terminal has `in` and `tty`; one without has `in`, `out` and `err`. v1: first version.
import { z } from 'zod';
import { nodeNum } from './ids.ts';
import { exitStatus } from './process.ts';

/** First element of each message. Numbers stay; new kinds are appended and unknown ones are ignored. */
export const attachKind = {
  open: 0,
  data: 1,
  ack: 2,
  eof: 3,
  exit: 4,
  moved: 5,
  input: 6,
  inputEof: 7,
} as const;

export const attachStreamName = z.enum(['in', 'out', 'err', 'tty']);
export type AttachStreamName = z.infer<typeof attachStreamName>;

const outputName = z.enum(['out', 'err', 'tty']);
export type AttachOutputName = z.infer<typeof outputName>;

const offset = z.int().min(0);
/** Any view of memory: msgpack decodes to one that shares the message's. */
const bytes = z.custom<Uint8Array>((v) => v instanceof Uint8Array);

/** Payload of one data or input message, bytes: far below the 1 MiB of a stream message. */
export const attachChunkMax = 65_536;

/** Output that the server sends ahead of the client's `ack`, bytes a stream; input that the client sends ahead of the server's. */
export const attachWindow = 1_048_576;

/**
 * Client to server, once, first: from which offset each output stream is wanted; a stream that is not
 * named is not sent. Where the log begins later than asked, the first `data` says so by its offset.
 */
export const attachOpen = z.tuple([
  z.literal(attachKind.open),
  z.partialRecord(outputName, offset),
]);

/** Server to client: bytes of an output stream, in order, without gaps but for a log that was cut. */
export const attachData = z.tuple([z.literal(attachKind.data), outputName, offset, bytes]);

/**
 * Both ways: everything below the offset arrived. From the client for output it only opens the window;
 * from the server for `in` it is a promise: these bytes are in the log and move with the process.
 */
export const attachAck = z.tuple([z.literal(attachKind.ack), attachStreamName, offset]);

/** Server to client: nobody holds this stream for writing any more; it ends at the offset. */
export const attachEof = z.tuple([z.literal(attachKind.eof), outputName, offset]);

/**
 * Server to client: the process ended. Sent after every byte it wrote itself; what its descendants
 * write later may still follow until `eof`.
 */
export const attachExit = z.tuple([z.literal(attachKind.exit), exitStatus]);

/** Server to client, last: the process executes there now, attach there; 0: ask its origin. */
export const attachMoved = z.tuple([z.literal(attachKind.moved), nodeNum.or(z.literal(0))]);

/** Client to server: bytes of standard input. What is below the log's end is there already and ignored; a gap is an error and drops the connection. */
export const attachInput = z.tuple([z.literal(attachKind.input), offset, bytes]);

/** Client to server: standard input ends at the offset. On a terminal: nothing ends, it is ignored. */
export const attachInputEof = z.tuple([z.literal(attachKind.inputEof), offset]);

export const attachFromClient = z.union([attachOpen, attachAck, attachInput, attachInputEof]);
export type AttachFromClient = z.infer<typeof attachFromClient>;

export const attachFromServer = z.union([
  attachData,
  attachAck,
  attachEof,
  attachExit,
  attachMoved,
]);
export type AttachFromServer = z.infer<typeof attachFromServer>;
