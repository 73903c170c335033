// ssi locks: resources of the lock manager, who holds them, who waits for whom. [VMS: SHOW LOCK; dlm_tool lockdump]
import type { LockList } from '@ssi/client';
import type { ResourceInfo } from '@ssi/contracts';
import { lockspaceArgument, secondsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { type LockRow, lockTree, modes, pathText, who } from '../lock-tree.ts';
import { type Column, table } from '../output.ts';

type Row = { resource: ResourceInfo; lock: LockRow; queue: 'granted' | 'converting' | 'waiting' };

const rowsOf = (resources: readonly ResourceInfo[]): Row[] =>
  resources.flatMap((resource) =>
    (['granted', 'converting', 'waiting'] as const).flatMap((queue) =>
      resource[queue].map((lock) => ({ resource, lock, queue })),
    ),
  );

const columns: Column<Row>[] = [
  { title: 'LOCKSPACE', of: (r) => r.resource.lockspace },
  { title: 'RESOURCE', of: (r) => pathText(r.resource) },
  { title: 'MASTER', of: (r) => r.resource.master, align: 'right' },
  { title: 'MODE', of: (r) => modes(r.lock) },
  { title: 'STATE', of: (r) => (r.resource.recovering ? 'recovering' : r.queue) },
  { title: 'OWNER', of: (r) => who(r.lock) },
  { title: 'TOKEN', of: (r) => r.lock.token ?? '-' },
];

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
      'as JSON: [{lockspace,resource,master,directory,recovering,valueInvalid,granted,converting,waiting,ranges}]',
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
    else if (options.tree) shell.out(lockTree(resources));
    else shell.out(table(columns, rowsOf(resources), { paint: shell.paint, width: shell.width }));
  }
};
