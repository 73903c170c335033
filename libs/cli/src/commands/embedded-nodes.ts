// ssi embedded-nodes: the process of `ssi up --embedded`, all nodes of a cluster in one. Not for people.
import { clusterDir } from '@ssi/client';
import { jsonLog } from '@ssi/linux';
import { nodeArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { createEmbeddedCluster } from '../up/embedded.ts';
import { socketPath } from '../up/embedded-process.ts';

export const define: Define = (command, shell) => {
  command.argument('<nodes>', 'how many', nodeArgument).action(
    shell.act(async (nodes: number) => {
      const name = shell.io.env.SSI_CLUSTER ?? 'default';
      const cluster = await createEmbeddedCluster({ nodes, cluster: name, log: jsonLog() });
      await cluster.open(socketPath(clusterDir(name)));
      await shell.untilInterrupted();
      await cluster.close();
      return 0;
    }),
  );
};
