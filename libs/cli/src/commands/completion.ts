// ssi completion: a script for the shell, made from the commands and options as they are.
import { Argument } from 'commander';
import { type CommandEntry, commandTable, type Define } from '../command-table.ts';
import { type CompletionCommand, completionScript, shells } from '../completion-script.ts';

export const define: Define = (command, shell) => {
  command
    .addArgument(new Argument('<shell>', 'which shell').choices([...shells]))
    .addHelpText(
      'after',
      `
Examples:
  source <(ssi completion bash)
  ssi completion zsh > ~/.zfunc/_ssi
  ssi completion fish > ~/.config/fish/completions/ssi.fish`,
    )
    .action(
      shell.act(async (name: (typeof shells)[number]) => {
        const { Command } = await import('commander');
        const describe = async (e: CommandEntry): Promise<CompletionCommand> => {
          const filled = new Command(e.name).option('--cluster <name>', 'cluster to use');
          (await e.load()).define(filled, shell);
          const options = filled.options.flatMap((o) =>
            o.long ? [{ flag: o.long, text: o.description }] : [],
          );
          return { name: e.name, text: e.summary, options: [...options, helpOption] };
        };
        const commands = await Promise.all(commandTable.filter((e) => !e.hidden).map(describe));
        shell.out(completionScript(name, commands));
        return 0;
      }),
    );
};

const helpOption = { flag: '--help', text: 'how to use it' };
