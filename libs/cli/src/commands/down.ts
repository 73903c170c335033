// ssi down: takes a cluster of this machine down; nothing of it is left.
import type { Define } from '../command-table.ts';
import { localClusterName } from '../up/bring-up.ts';
import { down } from '../up/cluster.ts';

export const define: Define = (command, shell) => {
  command
    .addHelpText(
      'after',
      `
Ends every program, service and server that "ssi up" started, and removes its interfaces, control groups
and folders. Also after something went wrong: what is gone already is no error.

Examples:
  ssi down
  ssi --cluster test down`,
    )
    .action(
      shell.act(async () => {
        const { cluster } = command.optsWithGlobals<{ cluster?: string }>();
        const name = localClusterName(cluster ?? shell.io.env.SSI_CLUSTER);
        if (!name.ok) return shell.fail(command, undefined, name);
        const gone = await shell.progress(`taking "${name.value}" down`, down(name.value));
        if (!gone.ok) return shell.fail(command, name.value, gone);
        shell.note(`down: cluster "${name.value}" is gone`);
        return 0;
      }),
    );
};
