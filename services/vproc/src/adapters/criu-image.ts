// The little of criu's image format that vproc reads or mends: protobuf entries behind two magic words,
// each with its length. Only varints and length-delimited fields occur in what is touched here.
// [criu: images/*.proto, include/magic.h]

export interface Field {
  readonly number: number;
  readonly wire: number;
  /** Of wire type 0. */
  readonly value: bigint;
  /** Of wire type 2 (and the raw bytes of 1 and 5). */
  readonly bytes: Uint8Array;
}

/** Reads one protobuf message. Throws RangeError where it is cut off. */
export function parseFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError('the image is cut off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    const value = wire === 0 ? varint() : 0n;
    const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : wire === 5 ? 4 : 0;
    if (at + length > bytes.length) throw new RangeError('the image is cut off');
    fields.push({ number: key >> 3, wire, value, bytes: bytes.subarray(at, at + length) });
    at += length;
  }
  return fields;
}

function varintBytes(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return [...bytes, Number(rest)];
}

export function writeFields(fields: readonly Field[]): Uint8Array {
  return Buffer.concat(
    fields.map(({ number, wire, value, bytes }) =>
      Buffer.concat([
        Buffer.from(varintBytes(BigInt(number * 8 + wire))),
        Buffer.from(wire === 0 ? varintBytes(value) : []),
        Buffer.from(wire === 2 ? varintBytes(BigInt(bytes.length)) : []),
        bytes,
      ]),
    ),
  );
}

const headerBytes = 8;

/** The entries of an image file. */
export function parseEntries(image: Uint8Array): Uint8Array[] {
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const entries: Uint8Array[] = [];
  for (let at = headerBytes; at + 4 <= image.length; ) {
    const length = view.getUint32(at, true);
    if (at + 4 + length > image.length) throw new RangeError('the image is cut off');
    entries.push(image.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return entries;
}

export const numberOf = (fields: readonly Field[], number: number): number =>
  Number(fields.find((field) => field.number === number)?.value ?? 0n);

/** Microseconds of freezing and of the whole frozen time. [stats.proto: dump_stats_entry] */
export function readDumpStats(image: Uint8Array): { freezingUs: number; frozenUs: number } {
  const [entry] = parseEntries(image);
  const dump = parseFields(entry ?? new Uint8Array()).find((field) => field.number === 1);
  const fields = parseFields(dump?.bytes ?? new Uint8Array());
  return { freezingUs: numberOf(fields, 1), frozenUs: numberOf(fields, 2) };
}

/** COMPEL_TASK_STOPPED: stopped by a signal before criu came. */
const taskStopped = 3;
/** core-PID.img: was this task stopped? [core.proto: core_entry.tc.task_state] */
export function wasStopped(image: Uint8Array): boolean {
  const [entry] = parseEntries(image);
  const task = parseFields(entry ?? new Uint8Array()).find((field) => field.number === 3);
  return task !== undefined && numberOf(parseFields(task.bytes), 1) === taskStopped;
}

/** Fields of file_entry.tfd and timerfd_entry. [fdinfo.proto, timerfd.proto] */
const fileTimerfd = 12;
const timer = { ticks: 5, valueSec: 7, valueNsec: 8, intervalSec: 9, intervalNsec: 10 } as const;

/**
 * criu restores a periodic timerfd that has expired and was not read disarmed: the program would tick no
 * more. Such timers are made to fire an interval after the restore. undefined: nothing to mend.
 */
export function mendTimers(files: Uint8Array): Uint8Array | undefined {
  let mended = false;
  const entries = parseEntries(files).map((entry) => {
    const fields = parseFields(entry);
    if (!fields.some((field) => field.number === fileTimerfd)) return entry;
    return writeFields(
      fields.map((field) => {
        if (field.number !== fileTimerfd) return field;
        const inner = parseFields(field.bytes);
        const get = (name: keyof typeof timer): number => numberOf(inner, timer[name]);
        const disarmed = get('valueSec') === 0 && get('valueNsec') === 0;
        if (!disarmed || get('ticks') === 0 || get('intervalSec') + get('intervalNsec') === 0)
          return field;
        mended = true;
        const set = new Map<number, number>([
          [timer.valueSec, get('intervalSec')],
          [timer.valueNsec, get('intervalNsec')],
        ]);
        const bytes = writeFields(
          inner.map((part) => {
            const value = set.get(part.number);
            return value === undefined ? part : { ...part, value: BigInt(value) };
          }),
        );
        return { ...field, bytes };
      }),
    );
  });
  return mended ? withEntries(files, entries) : undefined;
}

export function withEntries(image: Uint8Array, entries: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([
    image.subarray(0, headerBytes),
    ...entries.flatMap((entry) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(entry.length);
      return [length, entry];
    }),
  ]);
}

/** Field of pagemap_entry, and its bits. [pagemap.proto; criu: include/pagemap.h] */
const pagemapFlags = 4;
const pageLazy = 2n;
const pagePresent = 4n;

/**
 * `criu restore --lazy-pages` expects every page that could come later from elsewhere. Those that the images
 * hold are made ordinary ones; what was sent ahead is in no image.
 */
export function mendPagemap(pagemap: Uint8Array): Uint8Array {
  const mend = (field: Field): Field =>
    field.number === pagemapFlags && (field.value & pagePresent) !== 0n
      ? { ...field, value: field.value & ~pageLazy }
      : field;
  const [head, ...entries] = parseEntries(pagemap);
  if (!head) return pagemap;
  return withEntries(pagemap, [head, ...entries.map((e) => writeFields(parseFields(e).map(mend)))]);
}

/** Fields of tty_info_entry and pstree_entry. [tty.proto, pstree.proto] */
const terminal = { sid: 6, pgrp: 7 } as const;
const task = { pgid: 3 } as const;

/**
 * A terminal whose foreground group has just died (a job ended, and its shell has not yet taken the
 * terminal back) cannot be restored: criu finds no such group. It gets its session's own group, which is
 * what the shell is about to set. undefined: nothing to mend.
 */
export function mendForeground(ttyInfo: Uint8Array, pstree: Uint8Array): Uint8Array | undefined {
  const groups = new Set(
    parseEntries(pstree).map((entry) => numberOf(parseFields(entry), task.pgid)),
  );
  let mended = false;
  const entries = parseEntries(ttyInfo).map((entry) => {
    const fields = parseFields(entry);
    const sid = numberOf(fields, terminal.sid);
    const pgrp = numberOf(fields, terminal.pgrp);
    if (pgrp === 0 || groups.has(pgrp) || !groups.has(sid)) return entry;
    mended = true;
    return writeFields(
      fields.map((field) =>
        field.number === terminal.pgrp ? { ...field, value: BigInt(sid) } : field,
      ),
    );
  });
  return mended ? withEntries(ttyInfo, entries) : undefined;
}

/** Fields of file_lock_entry; kind is FL_POSIX, FL_FLOCK or FL_OFDLCK. [file-lock.proto] */
const lock = { kind: 1, type: 2 } as const;
const [kinds, forReading]: [readonly number[], number] = [[1, 2, 1024], 0];

/** filelocks.img: is there a lock that another copy could not hold at the same time? */
export const locksOut = (image: Uint8Array): boolean =>
  parseEntries(image).some((entry) => {
    const fields = parseFields(entry);
    return (
      !kinds.includes(numberOf(fields, lock.kind)) || numberOf(fields, lock.type) !== forReading
    );
  });

/** Fields of file_entry.pipe, pipe_entry and pipe_data_entry. [pipe.proto, pipe-data.proto] */
const filePipe = 18;
const pipe = { pipeId: 2, flags: 3 } as const;
const pipeData = { pipeId: 1, bytes: 2, size: 3 } as const;
const accessMode = 3;
const readWrite = 2;

/** Pipes that some descriptor has open for reading and writing at once. */
export function pipesBothWays(files: Uint8Array): number[] {
  const found = new Set<number>();
  for (const entry of parseEntries(files)) {
    const part = parseFields(entry).find((field) => field.number === filePipe);
    if (!part) continue;
    const fields = parseFields(part.bytes);
    if ((numberOf(fields, pipe.flags) & accessMode) === readWrite)
      found.add(numberOf(fields, pipe.pipeId));
  }
  return [...found].sort((a, b) => a - b);
}

/** pipes-data.img: what waits in each pipe, and the pipe's size. Here the bytes follow their entry. */
export function readPipeData(
  image: Uint8Array,
): Map<number, { readonly data: Uint8Array; readonly sizeBytes: number }> {
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const found = new Map<number, { data: Uint8Array; sizeBytes: number }>();
  for (let at = headerBytes; at + 4 <= image.length; ) {
    const dataAt = at + 4 + view.getUint32(at, true);
    const fields = parseFields(image.subarray(at + 4, dataAt));
    at = dataAt + numberOf(fields, pipeData.bytes);
    if (at > image.length) throw new RangeError('the image is cut off');
    found.set(numberOf(fields, pipeData.pipeId), {
      data: image.subarray(dataAt, at),
      sizeBytes: numberOf(fields, pipeData.size),
    });
  }
  return found;
}
