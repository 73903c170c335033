// A program that counts, and one that says again what it is told, both watched from outside: every number
// must come once and in order, whatever is done to the cluster meanwhile.
import type { Ssi } from '@ssi/client';
import { value } from './busy.ts';
import { numberedOutput } from './numbered.ts';
import { waitUntil } from './wait-until.ts';

/** 50 numbers a second, without a child process. */
const counter = `exec 9<> <(:)
for ((i = 0; ; i++)); do echo "c $i"; read -r -t 0.02 -u 9; done`;
const echo = `while read -r n; do echo "e $n"; done`;

export interface Steady {
  readonly counter: number;
  readonly echo: number;
  /** Resolves when both have written so many more numbers; rejects as soon as one is lost or doubled. */
  goOn(numbers?: number): Promise<void>;
  /** Ends what is said to the second program. */
  stop(): void;
}

export async function startSteady(
  ssi: Ssi,
  node: number,
  describe: () => Promise<string>,
): Promise<Steady> {
  const output = numberedOutput();
  const run = async (text: string, noInput: boolean): Promise<number> => {
    const argv = ['/bin/bash', '-c', text];
    const env = { PATH: '/usr/bin:/bin' };
    return value(await ssi.run({ argv, env, cwd: '/', node, ...(noInput && { noInput }) })).pid;
  };
  const pids = { counter: await run(counter, true), echo: await run(echo, false) };
  let talking = true;
  for (const [pid, input] of [
    [pids.counter, false],
    [pids.echo, true],
  ] as const) {
    const attachment = ssi.attach(pid, input ? { input: true } : {});
    void (async () => {
      for await (const event of attachment.events())
        if (event.type === 'data') output.feed(event.bytes);
        else if (event.type === 'gap') output.feed(`BAD ${event.bytes} bytes of ${pid} gone\n`);
        else if (event.type === 'failed') output.feed(`BAD ${pid}: ${event.failure.detail}\n`);
    })();
    if (input)
      void (async () => {
        for (let n = 0; talking; n++) {
          const written = await attachment.write(Buffer.from(`${n}\n`));
          if (!written.ok) return;
          await new Promise((done) => setTimeout(done, 20));
        }
      })();
  }
  const at = (series: string): number => output.report().next.get(series) ?? 0;
  return {
    ...pids,
    goOn: async (numbers = 50) => {
      const before = { c: at('c'), e: at('e') };
      await waitUntil(
        `${numbers} more numbers of ${pids.counter} and ${pids.echo}`,
        () => {
          const { wrong } = output.report();
          if (wrong.length > 0) throw new Error(`lost or doubled: ${wrong.join('; ')}`);
          return at('c') >= before.c + numbers && at('e') >= before.e + numbers;
        },
        40_000,
        async () => `${JSON.stringify([...output.report().next])}\n${await describe()}`,
      );
    },
    stop: () => {
      talking = false;
    },
  };
}
