// nft as a program: what it was told, what it said; whose a table is.
import { spawn } from 'node:child_process';
import { fail, ok, type Reply } from '@ssi/contracts';
import { tableComment } from '../nft-rules.ts';

export interface Run {
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

const runMs = 10_000;

export function run(argv: readonly string[], input = ''): Promise<Run> {
  return new Promise((done) => {
    const [path = '', ...args] = argv;
    const child = spawn(path, args, { timeout: runMs, killSignal: 'SIGKILL' });
    let [out, err] = ['', ''];
    child.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString();
    });
    child.stderr.on('data', (bytes: Buffer) => {
      err += bytes.toString();
    });
    // It may end before it has read all.
    child.stdin.on('error', () => {});
    child.on('error', (error) => done({ code: undefined, out, err: error.message }));
    child.on('close', (code) => done({ code: code ?? undefined, out, err }));
    child.stdin.end(input);
  });
}

/** What nft says, without the lines that show where. */
export const reason = (r: Run): string => r.err.trim().split('\n')[0] || `nft ended with ${r.code}`;

/** Whether a table of that family and name is here, and whose. */
export async function standing(
  nft: readonly string[],
  family: string,
  name: string,
): Promise<Reply<'ours' | 'none', 'EBUSY' | 'EIO'>> {
  const tables = await run([...nft, 'list', 'tables', family]);
  if (tables.code !== 0) return fail('EIO', reason(tables));
  if (!tables.out.split('\n').includes(`table ${family} ${name}`)) return ok('none');
  const table = await run([...nft, '-t', 'list', 'table', family, name]);
  return table.out.includes(tableComment)
    ? ok('ours')
    : fail('EBUSY', `a table ${family} ${name} is there, and it is not the director's`);
}

export async function removeTable(
  nft: readonly string[],
  family: string,
  name: string,
): Promise<Reply<undefined, 'EIO'>> {
  const there = await standing(nft, family, name);
  // Somebody else's stays.
  if (!there.ok) return there.errno === 'EBUSY' ? ok() : fail('EIO', there.detail);
  if (there.value === 'none') return ok();
  const gone = await run([...nft, 'delete', 'table', family, name]);
  return gone.code === 0 ? ok() : fail('EIO', reason(gone));
}

export type Counter = { readonly packets: number; readonly bytes: number };

/** By name, from `nft -j`; undefined: not of its form. [libnftables-json(5)] */
export function countersIn(text: string): Map<string, Counter> | undefined {
  try {
    const listed: { nftables: { counter?: Counter & { name: string } }[] } = JSON.parse(text);
    return new Map(listed.nftables.flatMap(({ counter: c }) => (c ? [[c.name, c]] : [])));
  } catch {
    return undefined;
  }
}
