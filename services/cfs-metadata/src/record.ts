// Records in a file: length, checksum, body. What a crash left at the end is not whole, and is seen to be so.
import { crc32 } from 'node:zlib';
import { Packr } from 'msgpackr';

const headBytes = 8;
/** bytes of one record; a length beyond it is not one. */
const recordMax = 2 ** 31;
/** No record structures between records: each can be read by itself. */
const packr = new Packr({ useRecords: false, moreTypes: true });

export function encodeRecord(value: unknown): Buffer {
  const body = packr.pack(value);
  const record = Buffer.allocUnsafe(headBytes + body.length);
  record.writeUInt32LE(body.length, 0);
  record.writeUInt32LE(crc32(body), 4);
  body.copy(record, headBytes);
  return record;
}

export interface Decoded {
  readonly values: readonly unknown[];
  /** bytes of whole records; what follows is torn or damaged. */
  readonly length: number;
}

/** All records up to the first that is not whole. */
export function decodeRecords(bytes: Uint8Array): Decoded {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values: unknown[] = [];
  let at = 0;
  while (at + headBytes <= bytes.length) {
    const length = view.getUint32(at, true);
    const end = at + headBytes + length;
    if (length === 0 || length > recordMax || end > bytes.length) break;
    const body = bytes.subarray(at + headBytes, end);
    if (crc32(body) !== view.getUint32(at + 4, true)) break;
    values.push(packr.unpack(body));
    at = end;
  }
  return { values, length: at };
}
