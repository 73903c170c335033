// Heartbeats prove that a node of the cluster sent them: each begins with its HMAC, made with a key that
// the memberships of the nodes hold and nobody else. [RFC 2104]
import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto';

export interface Seal {
  close(text: string): string;
  /** undefined: not made with this key, or changed on the way. */
  open(sealed: string): string | undefined;
}

/** Of a cluster on a bus of somebody else's, which has no keys: whoever reaches the port is believed. */
export const noSeal: Seal = { close: (text) => text, open: (text) => text };

const macDigits = 64;

/** `keyHex`: 32 bytes. */
export function hmacSeal(keyHex: string): Seal {
  const key = createSecretKey(keyHex, 'hex');
  const macOf = (text: string): Buffer => createHmac('sha256', key).update(text).digest();
  return {
    close: (text) => macOf(text).toString('hex') + text,
    open: (sealed) => {
      const shown = Buffer.from(sealed.slice(0, macDigits), 'hex');
      const text = sealed.slice(macDigits);
      const mac = macOf(text);
      return shown.length === mac.length && timingSafeEqual(shown, mac) ? text : undefined;
    },
  };
}
