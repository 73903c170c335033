// ssi locks: resources of the lock manager, who holds them, who waits for whom. [VMS: SHOW LOCK; dlm_tool lockdump]
import type { LockList } from '@ssi/client';
import type { LockMode, ResourceInfo } from '@ssi/contracts';
import { lockspaceArgument, secondsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { type Column, table } from '../output.ts';

type LockRow = ResourceInfo['granted'][number];
type Row = { resource: ResourceInfo; lock: LockRow; queue: 'granted' | 'converting' | 'waiting' };

const who = (lock: LockRow): string =>
  `${lock.label ?? lock.session?.slice(0, 8) ?? '?'}@${lock.node}${lock.orphan ? ' (gone)' : ''}`;

const rowsOf = (resources: readonly ResourceInfo[]): Row[] =>
  resources.flatMap((resource) =>
    (['granted', 'converting', 'waiting'] as const).flatMap((queue) =>
      resource[queue].map((lock) => ({ resource, lock, queue })),
    ),
  );

/** With those that it is under. */
const pathText = ({ parents = [], resource }: ResourceInfo): string =>
  [...parents, resource].join(' > ');

const modes = ({ granted, requested }: LockRow): string =>
  requested === undefined ? `${granted}` : granted ? `${granted}->${requested}` : `->${requested}`;

const columns: Column<Row>[] = [
  { title: 'LOCKSPACE', of: (r) => r.resource.lockspace },
  { title: 'RESOURCE', of: (r) => pathText(r.resource) },
  { title: 'MASTER', of: (r) => r.resource.master, align: 'right' },
  { title: 'MODE', of: (r) => modes(r.lock) },
  { title: 'STATE', of: (r) => (r.resource.recovering ? 'recovering' : r.queue) },
  { title: 'OWNER', of: (r) => who(r.lock) },
  { title: 'TOKEN', of: (r) => r.lock.token ?? '-' },
];

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

function tree(resources: readonly ResourceInfo[]): string {
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
      const mark = marks.filter(Boolean).join(', ');
      return [`${head}${mark && ` (${mark})`}`, ...held, ...waits, ''].join('\n');
    })
    .join('');
}

interface Options {
  readonly lockspace?: string;
  readonly tree?: boolean;
  readonly json?: boolean;
  readonly watch?: boolean;
  readonly delay: number;
}

export const define: Define = (command, shell) => {
  command
    .option('-l, --lockspace <name>', 'only this one', lockspaceArgument)
    .option('--tree', 'each resource with its holders, and who waits for whom')
    .option('-w, --watch', 'again and again, until interrupted')
    .option('-d, --delay <seconds>', 'with --watch: between two looks', secondsArgument, 1_000)
    .option(
      '--json',
      'as JSON: [{lockspace,resource,master,directory,recovering,valueInvalid,granted,converting,waiting}]',
    )
    .addHelpText(
      'after',
      `
The owner is what the client called itself, and the node whose lock manager keeps its lock.

Examples:
  ssi locks
  ssi locks --tree
  ssi locks --json | jq '.[] | select(.waiting != [])'`,
    )
    .action(
      shell.act((options: Options) =>
        shell.withSsi(command, async (ssi) => {
          for (;;) {
            const reply = await ssi.locks(options.lockspace);
            if (!reply.ok) return shell.fail(command, undefined, reply);
            print(reply.value, options);
            if (!options.watch) return 0;
            await new Promise((done) => setTimeout(done, options.delay));
            if (shell.interrupted.aborted) return 0;
            if (!options.json) shell.out('\n');
          }
        }),
      ),
    );

  function print({ resources, silent }: LockList, options: Options): void {
    for (const { node, errno } of silent)
      shell.note(`locks: node ${node} did not answer (${errno}): what it is master of is missing`);
    if (options.json) shell.json(resources);
    else if (options.tree) shell.out(tree(resources));
    else shell.out(table(columns, rowsOf(resources), { paint: shell.paint, width: shell.width }));
  }
};
