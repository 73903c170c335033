// Fencing at who holds the data: a token older than the newest one seen is refused, so that a holder that
// was paused past the end of its lock does no harm. [design: fencing tokens]
import { fail, ok, type Reply } from '@ssi/contracts';

export interface Fence {
  /**
   * ESTALE: a newer holder was here. Call it in one step with the write that it guards. Holders of one
   * lock come with the same token again and again.
   */
  check(resource: string, token: string): Reply<undefined, 'ESTALE' | 'EINVAL'>;
}

/** `newest`: what was seen before, by resource; kept up to date, for whoever keeps it with the data. */
export function createFence(newest: Map<string, string> = new Map()): Fence {
  return {
    check(resource, token) {
      if (!/^[0-9]{1,19}$/.test(token)) return fail('EINVAL', `"${token}" is no fencing token`);
      const seen = newest.get(resource);
      if (seen !== undefined && BigInt(token) < BigInt(seen))
        return fail('ESTALE', `token ${token} is older than ${seen}: another holder came after it`);
      newest.set(resource, token);
      return ok();
    },
  };
}
