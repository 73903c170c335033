// A data plane whose process (programs/plane.ts) is elsewhere.
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { DataPlane } from '../src/index.ts';

export function remotePlane(child: ChildProcess): DataPlane {
  const waiting: ((line: string) => void)[] = [];
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
    waiting.shift()?.(line),
  );
  const call = async (method: string, argument?: unknown) => {
    const answered = new Promise<string>((done) => waiting.push(done));
    child.stdin?.write(`${JSON.stringify([method, argument])}\n`);
    const reply = JSON.parse(await answered);
    return Array.isArray(reply.value) ? { ...reply, value: new Map(reply.value) } : reply;
  };
  return {
    apply: (planned) => call('apply', planned),
    connections: () => call('connections'),
    traffic: () => call('traffic'),
    clear: () => call('clear'),
  };
}
