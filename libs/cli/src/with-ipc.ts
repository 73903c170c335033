// What the commands for IPC objects share: a session that lasts as long as the command.
import { hostname } from 'node:os';
import type { Ipc } from '@ssi/client';
import type { Command } from 'commander';
import type { Shell } from './shell.ts';

export interface NodeOption {
  readonly node?: number;
}

export const withIpc = (
  shell: Shell,
  command: Command,
  { node }: NodeOption,
  fn: (ipc: Ipc) => Promise<number>,
): Promise<number> =>
  shell.withSsi(command, async (ssi) => {
    const label = `${command.parent?.name() ?? ''} ${command.name()} ${process.pid}@${hostname()}`;
    const opening = ssi.ipc({ label: label.trim(), ...(node !== undefined && { node }) });
    const opened = await shell.progress('asking the node', opening);
    if (!opened.ok) return shell.fail(command, undefined, opened);
    try {
      return await fn(opened.value);
    } finally {
      await opened.value.close();
    }
  });

/** All of standard input. */
export async function readInput(shell: Shell): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for await (const part of shell.io.stdin) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

/** Resolves when standard output took it. */
export const writeOutput = (shell: Shell, bytes: Uint8Array): Promise<void> =>
  new Promise((done) => {
    if (shell.io.stdout.write(bytes)) done();
    else shell.io.stdout.once('drain', done);
  });
