// The proof of who we are that nats-server wants, by the system's Ed25519: what the nkeys package does in
// JavaScript takes 50 ms of a process that has just started. [NATS: nkeys; RFC 8032; RFC 8410]
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { Authenticator } from '@nats-io/transport-node';

/** Before the 32 bytes of a private key: PKCS #8, Ed25519. [RFC 8410 7] */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'; // [RFC 4648 6]
/** First byte of a user's public key: it begins with U. */
const userPrefix = 20 << 3;

function fromBase32(text: string): Buffer {
  const bytes: number[] = [];
  let value = 0;
  let bits = 0;
  for (const digit of text) {
    const five = alphabet.indexOf(digit);
    if (five < 0) throw new Error('a seed has capital letters and 2 to 7 only');
    value = ((value << 5) | five) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >>> bits) & 0xff);
  }
  return Buffer.from(bytes);
}

function toBase32(bytes: Buffer): string {
  let text = '';
  let value = 0;
  let bits = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >>> (bits - 5)) & 31];
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text;
}

/** CRC-16/XMODEM. */
function checksum(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

/** `seed`: of a user's nkey, 58 characters. Throws where it is none. */
export function nkeyProof(seed: string): Authenticator {
  const raw = fromBase32(seed);
  if (raw.length !== 36 || raw.readUInt16LE(34) !== checksum(raw.subarray(0, 34)))
    throw new Error('no seed of an nkey');
  const der = Buffer.concat([pkcs8, raw.subarray(2, 34)]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  const body = Buffer.concat([Buffer.from([userPrefix]), publicKey]);
  const crc = Buffer.alloc(2);
  crc.writeUInt16LE(checksum(body));
  const nkey = toBase32(Buffer.concat([body, crc]));
  return (nonce) => ({
    nkey,
    sig: nonce ? sign(null, Buffer.from(nonce), key).toString('base64') : '',
  });
}
