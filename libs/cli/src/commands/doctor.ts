// ssi doctor: looks whether this machine and the cluster are in order, and says what to do if not.
import type { Define } from '../command-table.ts';
import { lookAt } from '../finding.ts';
import { exitCode } from '../status.ts';

export const define: Define = (command, shell) => {
  command
    .option('--json', 'as JSON: [{check,ok,detail,remedy,optional}]')
    .addHelpText(
      'after',
      '\nEnds with 1 when something is missing that is not optional.\n\nExamples:\n  ssi doctor\n  ssi doctor --json | jq ".[] | select(.ok | not)"',
    )
    .action(
      shell.act(async (options: { json?: boolean }) => {
        const { checksFor } = await import('../doctor.ts');
        const { cluster } = command.optsWithGlobals<{ cluster?: string }>();
        const findings = [];
        for (const check of checksFor(shell.io.env, cluster, () => shell.io.connect({ cluster }))) {
          if (shell.interrupted.aborted) return exitCode.interrupted;
          const finding = await shell.progress(`looking at ${check.name}`, lookAt(check));
          findings.push(finding);
          if (options.json) continue;
          const mark = finding.ok
            ? shell.paint('green', 'ok  ')
            : finding.optional
              ? shell.paint('yellow', 'note')
              : shell.paint('red', 'FAIL');
          shell.out(`${mark}  ${finding.check.padEnd(15)} ${finding.detail}\n`);
          if (finding.remedy)
            shell.out(`      ${''.padEnd(15)} ${shell.paint('bold', finding.remedy)}\n`);
        }
        if (options.json) shell.json(findings);
        return findings.every((f) => f.ok || f.optional) ? exitCode.ok : exitCode.failed;
      }),
    );
};
