// Fencing at who holds the data: once a token was seen, nothing that comes with a smaller one has any
// effect. So a holder that was paused past the end of its lock does no harm. [design: fencing tokens]
import { fail, type Reply } from '@ssi/contracts';

export interface Fence {
  /**
   * Call it first with a new token, before anything is read: from then on the holders before it are
   * refused, and what is read stays. ESTALE: a newer holder was here; EINVAL: this is no token.
   */
  check(resource: string, token: string): Promise<Reply<undefined, 'ESTALE' | 'EINVAL'>>;
}

/** Tokens have up to 19 digits: too many for a double, so they are compared as text of one length. */
export const tokenDigits = 19;

/** Of one length; undefined: no token. */
export const padded = (token: string): string | undefined =>
  /^[0-9]{1,19}$/.test(token) ? token.padStart(tokenDigits, '0') : undefined;

export const noToken = (token: string) => fail('EINVAL', `"${token}" is no fencing token`);
export const stale = (resource: string, token: string) =>
  fail('ESTALE', `${resource}: a holder with a token above ${token} was here`);
