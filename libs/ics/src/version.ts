// Contracts that change: a server may serve several versions side by side, says in its `welcome` which, and
// a caller speaks the newest that both know. So a cluster is upgraded one service at a time.
import { type Contract, fail, type Reply } from '@ssi/contracts';
import type { Ics } from '@ssi/ports';
import { decodeBody, encodeBody } from './frame.ts';

export type VersionSpan = readonly [min: number, max: number];

export const encodeVersions = (span: VersionSpan): Uint8Array => encodeBody(span);

/** undefined: a server that did not say. */
export function decodeVersions(body: Uint8Array): VersionSpan | undefined {
  if (body.length === 0) return undefined;
  try {
    const span = decodeBody(body);
    if (!Array.isArray(span)) return undefined;
    const [min, max] = span;
    return Number.isInteger(min) && Number.isInteger(max) ? [min, max] : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Calls the server of one contract on `to` in the newest of `versions` (newest first) that it serves: `call` is
 * given that one, and again an older one only where the server answered EPROTONOSUPPORT: it did not run.
 * EPROTONOSUPPORT: none in common.
 */
export async function inCommon<C extends Contract, R extends Reply<unknown>>(
  ics: Pick<Ics, 'versions'>,
  to: number,
  versions: readonly C[],
  call: (version: C) => Promise<R>,
): Promise<R | Reply<never, 'EPROTONOSUPPORT'>> {
  let last: R | Reply<never, 'EPROTONOSUPPORT'> = fail('EPROTONOSUPPORT', 'no version in common');
  for (const version of versions) {
    const known = ics.versions(version, to);
    if (known && (version.version < known[0] || version.version > known[1])) continue;
    last = await call(version);
    if (last.ok || last.errno !== 'EPROTONOSUPPORT') return last;
  }
  return last;
}
