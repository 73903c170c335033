// What a server tells the kernel unasked, as bytes. [linux/fuse.h: fuse_notify_*_out]
import { notifyCode } from './opcode.ts';
import { outHeaderBytes } from './outgoing.ts';

/** A header that names no request and the notification's code where answers have their errno. */
function head(code: number, body: Buffer, ...more: readonly Uint8Array[]): Uint8Array[] {
  const parts = [body, ...more];
  const header = Buffer.alloc(outHeaderBytes);
  header.writeUInt32LE(
    parts.reduce((n, p) => n + p.length, outHeaderBytes),
    0,
  );
  header.writeInt32LE(code, 4);
  return [header, ...parts.filter((p) => p.length > 0)];
}

const numbers = (...values: readonly number[]): Buffer => {
  const body = Buffer.alloc(8 * values.length);
  values.forEach((v, i) => {
    body.writeBigInt64LE(BigInt(v), 8 * i);
  });
  return body;
};
const withNul = (name: string): Buffer => Buffer.from(`${name}\0`, 'latin1');
const two32 = 2 ** 32;

export const inodeInvalid = (node: number, offset: number, length: number): Uint8Array[] =>
  head(notifyCode.INVAL_INODE, numbers(node, offset, length));

export const entryInvalid = (parent: number, name: string, expireOnly: boolean): Uint8Array[] =>
  head(
    notifyCode.INVAL_ENTRY,
    numbers(parent, name.length + (expireOnly ? two32 : 0)),
    withNul(name),
  );

export const entryDeleted = (parent: number, node: number, name: string): Uint8Array[] =>
  head(notifyCode.DELETE, numbers(parent, node, name.length), withNul(name));

export const dataStored = (node: number, offset: number, data: Uint8Array): Uint8Array[] =>
  head(notifyCode.STORE, numbers(node, offset, data.length), data);

export const pollChanged = (handle: number): Uint8Array[] => head(notifyCode.POLL, numbers(handle));

export const resendAll = (): Uint8Array[] => head(notifyCode.RESEND, Buffer.alloc(0));
