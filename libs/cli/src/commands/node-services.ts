// ssi node-services: the supervisor that the guard of a node runs. Not for people.
import type { Define } from '../command-table.ts';
import { supervise } from '../up/supervisor.ts';

export const define: Define = (command, shell) => {
  command.action(
    shell.act(async () => {
      await supervise(shell.io.env, shell.interrupted);
      return 0;
    }),
  );
};
