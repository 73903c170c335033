// The data plane by nft, in the network namespace of this process. One transaction for each change; what is in
// the table is what was last applied, so only differences are sent. [nft(8): -f; proc: /proc/net/nf_conntrack]
import { fail, ok, type Reply } from '@ssi/contracts';
import { serviceText } from '@ssi/lvs';
import { linkKey } from '../link-key.ts';
import { markOf, type Numbered, numbers, tableName, transaction } from '../nft-rules.ts';
import { placeMoves } from '../place-moves.ts';
import type { Connections, DataPlane, Planned, Traffic } from '../ports.ts';
import { countersIn, reason, removeTable, standing } from './nft.ts';
import type { changePlacesNow } from './places.netlink.ts';
import { run } from './program.ts';

/** Connections by mark, from the text of /proc/net/nf_conntrack. */
export function countByMark(text: string): Map<number, { active: number; inactive: number }> {
  const found = new Map<number, { active: number; inactive: number }>();
  for (const line of text.split('\n')) {
    const mark = Number(/ mark=(\d+)/.exec(line)?.[1] ?? 0);
    if (mark === 0) continue;
    const count = found.get(mark) ?? { active: 0, inactive: 0 };
    if (line.includes(' ESTABLISHED ')) count.active++;
    else count.inactive++;
    found.set(mark, count);
  }
  return found;
}

export function nftDataPlane(q: {
  /** `nft`, or how to run it elsewhere. */
  readonly nft: readonly string[];
  /** What prints this namespace's connections. */
  readonly conntrack: readonly string[];
  /** `changePlacesNow`, where this process is in that namespace: then most changes of places take milliseconds. */
  readonly changePlaces?: typeof changePlacesNow;
}): DataPlane {
  const serviceNumbers = numbers();
  const serverNumbers = numbers();
  let applied: readonly Numbered[] | undefined;

  const numbered = (planned: Planned): Numbered => ({
    ...planned,
    number: serviceNumbers.of(serviceText(planned.service.id)),
    marks: planned.service.servers.map((_, at) => markOf(serverNumbers.of(linkKey(planned, at)))),
  });

  async function send(after: readonly Numbered[]): Promise<Reply<undefined, 'EBUSY' | 'EIO'>> {
    // First what is only a matter of places; where the kernel refuses that, nft may say why.
    const moves = applied && q.changePlaces && placeMoves(applied, after);
    if (moves && q.changePlaces?.(tableName, moves.changes) === 0) {
      const rest = transaction(moves.moved, after);
      const done =
        rest === transaction(after, after) ? undefined : await run([...q.nft, '-f', '-'], rest);
      if (done === undefined || done.code === 0) {
        applied = after;
        return ok();
      }
      q.changePlaces(tableName, moves.back);
      return fail('EIO', reason(done));
    }
    let text = transaction(applied, after);
    if (!applied) {
      const there = await standing(q.nft, 'ip', tableName);
      if (!there.ok) return there;
      // Left by a former life: replaced in the same transaction.
      if (there.value === 'ours') text = `delete table ip ${tableName}\n${text}`;
    }
    const done = await run([...q.nft, '-f', '-'], text);
    if (done.code !== 0) return fail('EIO', reason(done));
    applied = after;
    return ok();
  }

  function keepNumbers(): void {
    const now = applied ?? [];
    serviceNumbers.keep(new Set(now.map((s) => serviceText(s.service.id))));
    serverNumbers.keep(new Set(now.flatMap((s) => s.marks.map((_, at) => linkKey(s, at)))));
  }

  const byLink = <T>(look: (mark: number) => T): Map<string, T> =>
    new Map(
      (applied ?? []).flatMap((s) =>
        s.marks.map((mark, at): [string, T] => [linkKey(s, at), look(mark)]),
      ),
    );

  return {
    async apply(planned) {
      for (const { service } of planned)
        for (const { forward } of service.servers)
          if (forward === 'route' || forward === 'tunnel')
            return fail('EOPNOTSUPP', `${serviceText(service.id)}: nftables cannot do ${forward}`);
      const sent = await send(planned.map(numbered));
      keepNumbers();
      return sent;
    },
    async connections() {
      const read = await run(q.conntrack);
      if (read.code !== 0) return fail('EIO', reason(read));
      const counts = countByMark(read.out);
      return ok(byLink((mark): Connections => counts.get(mark) ?? { active: 0, inactive: 0 }));
    },
    async traffic() {
      if (!applied) return ok(new Map());
      const read = await run([...q.nft, '-j', 'list', 'counters', 'table', 'ip', tableName]);
      if (read.code !== 0) return fail('EIO', reason(read));
      const named = countersIn(read.out);
      if (!named) return fail('EIO', 'nft lists counters in a form that is not known');
      return ok(
        byLink((mark): Traffic => {
          const of = (kind: string) => named.get(`${kind}_0x${mark.toString(16)}`);
          return {
            connections: of('begun')?.packets ?? 0,
            inPackets: of('in')?.packets ?? 0,
            inBytes: of('in')?.bytes ?? 0,
            outPackets: of('out')?.packets ?? 0,
            outBytes: of('out')?.bytes ?? 0,
          };
        }),
      );
    },
    async clear() {
      applied = undefined;
      keepNumbers();
      return removeTable(q.nft, 'ip', tableName);
    },
  };
}
