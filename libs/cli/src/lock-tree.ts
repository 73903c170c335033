// Resources as text: each with its holders and byte ranges, and who waits for whom.
import type { LockMode, ResourceInfo } from '@ssi/contracts';

export type LockRow = ResourceInfo['granted'][number];

export const who = (lock: LockRow): string =>
  `${lock.label ?? lock.session?.slice(0, 8) ?? '?'}@${lock.node}${lock.orphan ? ' (gone)' : ''}`;

/** With those that it is under. */
export const pathText = ({ parents = [], resource }: ResourceInfo): string =>
  [...parents, resource].join(' > ');

export const modes = ({ granted, requested }: LockRow): string =>
  requested === undefined ? `${granted}` : granted ? `${granted}->${requested}` : `->${requested}`;

const beside: Record<LockMode, string> = {
  ...{ NL: 'NL CR CW PR PW EX', CR: 'NL CR CW PR PW', CW: 'NL CR CW' },
  ...{ PR: 'NL CR PR', PW: 'NL CR', EX: 'NL' },
};

/** Who stands in its way: holders of what it cannot be beside, else whoever is before it in its queue. */
function blockers(r: ResourceInfo, lock: LockRow, before: readonly LockRow[]): string {
  const wanted = lock.requested;
  const holders = [...r.granted, ...r.converting].filter(
    (other) =>
      other !== lock &&
      wanted &&
      other.granted &&
      !beside[wanted].split(' ').includes(other.granted),
  );
  const found = holders.length > 0 ? holders : before.slice(-1);
  return found.map((other) => `${modes(other)} ${who(other)}`).join(', ') || 'nobody';
}

function rangeText(
  { type, start, length, lkid, waits }: NonNullable<ResourceInfo['ranges']>[number],
  locks: readonly LockRow[],
): string {
  const owner = locks.find((lock) => lock.lkid === lkid);
  const last = length === 0 ? 'end' : start + length - 1;
  const text = `${type} ${start}-${last} ${owner ? who(owner) : `lock ${lkid}`}`;
  return waits ? `    ${text} waits` : `  ${text}`;
}

export function lockTree(resources: readonly ResourceInfo[]): string {
  return resources
    .map((r) => {
      const head = `${r.lockspace}/${pathText(r)}  master ${r.master}, directory ${r.directory ?? '?'}`;
      const marks = [r.recovering && 'recovering', r.valueInvalid && 'value not valid'];
      const held = r.granted.map((l) => `  ${modes(l)} ${who(l)}${l.token ? ` ${l.token}` : ''}`);
      const waits = (['converting', 'waiting'] as const).flatMap((queue) =>
        r[queue].map((l, i) => {
          const before = [...(queue === 'waiting' ? r.converting : []), ...r[queue].slice(0, i)];
          return `    ${modes(l)} ${who(l)} ${queue === 'waiting' ? 'waits' : 'converts, waits'} for ${blockers(r, l, before)}`;
        }),
      );
      const ranges = (r.ranges ?? []).map((range) => rangeText(range, r.granted));
      const mark = marks.filter(Boolean).join(', ');
      return [`${head}${mark && ` (${mark})`}`, ...held, ...ranges, ...waits, ''].join('\n');
    })
    .join('');
}
