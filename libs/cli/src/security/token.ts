// What `ssi join` takes. One token lets one machine in, once, until it expires: it names who takes joining
// nodes in, and the certificate by which that is known, so that the secret is shown to nobody else.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import { z } from 'zod';
import { authorityDir } from './register.ts';

const clusterName = z.string().regex(/^[A-Za-z0-9_-]{1,32}$/);

/** To a cluster with credentials: where to show it, and the secret. */
const invitation = z.object({
  cluster: clusterName,
  host: z.string(),
  port: z.int().min(1).max(65_535),
  /** SHA-256 of the certificate there. */
  pin: z.string(),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  secret: z.string().regex(/^[0-9a-f]{32}$/),
});
/** To one on a bus of somebody else's: the bus, with what it asks for. */
const address = z.object({
  cluster: clusterName,
  nats: z.string(),
  pidBits: z.union([z.literal(14), z.literal(16)]),
});
const token = z.union([invitation, address]);
export type Invitation = z.infer<typeof invitation>;
export type Token = z.infer<typeof token>;

const prefix = 'ssi1.';

export const encodeToken = (body: Token): string =>
  prefix + Buffer.from(JSON.stringify(body)).toString('base64url');

export function decodeToken(text: string): Reply<Token, 'EINVAL'> {
  const wrong = fail('EINVAL', 'not a token; get one with: ssi node token, where the cluster runs');
  if (!text.startsWith(prefix)) return wrong;
  try {
    const body = JSON.parse(Buffer.from(text.slice(prefix.length), 'base64url').toString());
    const parsed = token.safeParse(body);
    return parsed.success ? ok(parsed.data) : wrong;
  } catch {
    return wrong;
  }
}

const record = z.object({ hash: z.string(), untilMs: z.number() });
const tokensDir = (clusterDir: string): string => `${authorityDir(clusterDir)}/tokens`;
const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** A new one; only a hash of its secret is kept. */
export function createToken(clusterDir: string, untilMs: number): { id: string; secret: string } {
  const made = { id: randomBytes(8).toString('hex'), secret: randomBytes(16).toString('hex') };
  const path = `${tokensDir(clusterDir)}/${made.id}`;
  mkdirSync(tokensDir(clusterDir), { recursive: true, mode: 0o700 });
  const kept = JSON.stringify({ hash: hashOf(made.secret), untilMs });
  writeFileSync(`${path}.tmp`, kept, { mode: 0o600 });
  renameSync(`${path}.tmp`, `${path}.open`);
  return made;
}

type Refused = Reply<undefined, 'EACCES'>;

function judge(clusterDir: string, id: string, secret: string, nowMs: number): Refused {
  let text: string;
  try {
    text = readFileSync(`${tokensDir(clusterDir)}/${id}.open`, 'utf8');
  } catch {
    return fail('EACCES', 'this token was used, or is of another cluster');
  }
  const { hash, untilMs } = record.parse(JSON.parse(text));
  const same = timingSafeEqual(Buffer.from(hash, 'hex'), Buffer.from(hashOf(secret), 'hex'));
  if (!same) return fail('EACCES', 'this is not the secret of that token');
  return nowMs < untilMs ? ok() : fail('EACCES', 'this token has expired');
}

/** Whether it would be taken now. */
export const checkToken = judge;

/** Takes it: of two at the same time one gets it. */
export function useToken(clusterDir: string, id: string, secret: string, nowMs: number): Refused {
  const valid = judge(clusterDir, id, secret, nowMs);
  if (!valid.ok) return valid;
  const path = `${tokensDir(clusterDir)}/${id}`;
  try {
    renameSync(`${path}.open`, `${path}.used`);
    return ok();
  } catch {
    return fail('EACCES', 'this token was used just now');
  }
}

/** When the last open token expires, ms; 0: none is open. */
export function openUntilMs(clusterDir: string): number {
  try {
    return readdirSync(tokensDir(clusterDir))
      .filter((f) => f.endsWith('.open'))
      .map((f) => JSON.parse(readFileSync(`${tokensDir(clusterDir)}/${f}`, 'utf8')))
      .reduce((latest: number, t) => Math.max(latest, record.parse(t).untilMs), 0);
  } catch {
    return 0;
  }
}
