// As much of protocol buffers as reading OTLP takes: a message as its fields by number, each with all its
// values. [protobuf.dev: encoding]

/** Varints and fixed64 as bigint, everything with a length as bytes. */
export type Fields = ReadonlyMap<number, readonly (bigint | Uint8Array)[]>;

const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** Throws RangeError on what is no message. */
export function readFields(message: Uint8Array): Fields {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const fields = new Map<number, (bigint | Uint8Array)[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a varint of more than 10 bytes');
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw new RangeError('a field longer than its message');
    at += length;
    return message.subarray(at - length, at);
  };
  const value = (type: number): bigint | Uint8Array => {
    if (type === wire.varint) return varint();
    if (type === wire.bytes) return take(Number(varint()));
    if (type === wire.fixed32)
      return BigInt(new DataView(take(4).slice().buffer).getUint32(0, true));
    if (type === wire.fixed64) {
      at += 8;
      return view.getBigUint64(at - 8, true);
    }
    throw new RangeError(`wire type ${type}`);
  };
  while (at < message.length) {
    const key = Number(varint());
    const values = fields.get(key >> 3) ?? [];
    values.push(value(key & 7));
    fields.set(key >> 3, values);
  }
  return fields;
}

export const numberIn = (fields: Fields, field: number): bigint => {
  const last = fields.get(field)?.at(-1);
  return typeof last === 'bigint' ? last : 0n;
};
export const bytesIn = (fields: Fields, field: number): Uint8Array[] =>
  (fields.get(field) ?? []).filter((v) => typeof v !== 'bigint');
export const textIn = (fields: Fields, field: number): string =>
  new TextDecoder().decode(bytesIn(fields, field).at(-1));
export const hexIn = (fields: Fields, field: number): string =>
  Buffer.from(bytesIn(fields, field).at(-1) ?? []).toString('hex');
