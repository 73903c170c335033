// Frames for the same subject that were said in one turn of the event loop, as one message of the bus: with
// many calls in flight the bus and its client library cost more for each message than ICS does for each call.
// A frame alone travels as it is. Several: a byte that begins no msgpack value, then [length u32][frame] each.

/** Never the first byte of a frame. [msgpack: 0xc1 never used] */
const mark = 0xc1;
/** Bounds of a bundle: its tags make up one token of a subject, of which the bus takes 4 KiB in a line. */
const framesMax = 64;
const bytesMax = 64 * 1024;
const tagsMax = 2_048;
const between = '-';

/** Sends what a bundle has become; `tags` is empty for answers. */
export type Publish = (message: Uint8Array, tags: string) => void;

export class Bundle {
  readonly #publish: Publish;
  #frames: Uint8Array[] = [];
  #bytes = 1;
  #tags = '';

  constructor(publish: Publish) {
    this.#publish = publish;
  }

  /** Leaves before anything that is awaited goes on; earlier where it has no room. */
  add(frame: Uint8Array, tag = ''): void {
    const bytes = 4 + frame.length;
    const full =
      this.#frames.length >= framesMax ||
      this.#bytes + bytes > bytesMax ||
      this.#tags.length + tag.length >= tagsMax;
    if (full) this.flush();
    if (this.#frames.length === 0) queueMicrotask(() => this.flush());
    this.#tags = this.#tags === '' ? tag : `${this.#tags}${between}${tag}`;
    this.#bytes += bytes;
    this.#frames.push(frame);
  }

  flush(): void {
    const frames = this.#frames;
    if (frames.length === 0) return;
    const [tags, bytes] = [this.#tags, this.#bytes];
    this.#frames = [];
    this.#bytes = 1;
    this.#tags = '';
    const [first] = frames;
    const isAlone = frames.length === 1 && first && first[0] !== mark;
    this.#publish(isAlone ? first : together(frames, bytes), tags);
  }
}

function together(frames: readonly Uint8Array[], bytes: number): Uint8Array {
  const message = Buffer.allocUnsafe(bytes);
  message[0] = mark;
  let at = 1;
  for (const frame of frames) {
    at = message.writeUInt32BE(frame.length, at);
    message.set(frame, at);
    at += frame.length;
  }
  return message;
}

/** The frames of a message, in order; a rest that is cut short is given as it is, and is no frame. */
export function unbundle(message: Uint8Array, each: (frame: Uint8Array) => void): void {
  if (message[0] !== mark) {
    each(message);
    return;
  }
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  for (let at = 1; at < bytes.length; ) {
    const begin = at + 4;
    const end = begin > bytes.length ? Number.POSITIVE_INFINITY : begin + bytes.readUInt32BE(at);
    each(end > bytes.length ? bytes.subarray(at) : bytes.subarray(begin, end));
    at = end;
  }
}

/** The tags of a bundle that found nobody. */
export const tagsOf = (token: string): readonly string[] => token.split(between);
