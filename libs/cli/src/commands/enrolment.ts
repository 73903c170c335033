// ssi enrolment: the process that takes joining machines in. Started by "ssi node token"; not for people.
import type { Define } from '../command-table.ts';
import { serveEnrolment } from '../security/enrolment.ts';

export const define: Define = (command, shell) => {
  command
    .argument('<name>')
    .argument('<host>')
    .action(
      shell.act(async (name: string, host: string) => {
        await serveEnrolment(name, host, shell.interrupted);
        return 0;
      }),
    );
};
