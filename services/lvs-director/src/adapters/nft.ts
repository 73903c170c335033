// What nft said: whose a table is, what its counters are.
import { fail, ok, type Reply } from '@ssi/contracts';
import { tableComment } from '../nft-rules.ts';
import { type Run, reason as reasonOf, run } from './program.ts';

export const reason = (r: Run): string => reasonOf(r, 'nft');

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
