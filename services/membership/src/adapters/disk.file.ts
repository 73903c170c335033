// Membership's memory in files: <stateDir>/boot.json and view.json for good, <lifeDir>/life.json (the
// node's tmpfs) for the life of the guard. Written beside, synced, renamed; a torn file is never seen.
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { incarnation, view } from '@ssi/contracts';
import { z } from 'zod';
import type { Disk } from '../ports.ts';

const boot = z.object({ bootCount: z.int().min(0) });
const life = z.object({
  incarnation,
  promise: z.object({ term: z.int(), to: z.int(), life: z.string() }).optional(),
});
const remembered = z.object({ clusterId: z.string(), view });

export function openDisk(q: { stateDir: string; lifeDir: string }): Disk {
  const paths = {
    boot: join(q.stateDir, 'boot.json'),
    view: join(q.stateDir, 'view.json'),
    life: join(q.lifeDir, 'membership-life.json'),
  };
  // One writer at a time for each file: renames land in the order of the calls.
  const tails = new Map<string, Promise<void>>();
  const inTurn = (path: string, value: unknown): Promise<void> => {
    const next = (tails.get(path) ?? Promise.resolve()).then(() => write(path, value));
    tails.set(
      path,
      next.catch(() => {}),
    );
    return next;
  };
  return {
    async load() {
      const stored = {
        bootCount: (await read(paths.boot, boot))?.bootCount ?? 0,
        life: await read(paths.life, life),
        remembered: await read(paths.view, remembered),
      };
      // Absent, not undefined: the port says so.
      return {
        bootCount: stored.bootCount,
        ...(stored.life ? { life: clean(stored.life) } : {}),
        ...(stored.remembered ? { remembered: stored.remembered } : {}),
      };
    },
    saveBootCount: (bootCount) => inTurn(paths.boot, { bootCount }),
    saveLife: (value) => inTurn(paths.life, value),
    saveView: (value) => inTurn(paths.view, value),
  };
}

const clean = (l: z.infer<typeof life>) =>
  l.promise ? { incarnation: l.incarnation, promise: l.promise } : { incarnation: l.incarnation };

/** undefined: not there, or not what it should be (then as good as lost). */
async function read<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    const parsed = schema.safeParse(JSON.parse(await readFile(path, 'utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

async function write(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.tmp`;
  await mkdir(dirname(path), { recursive: true });
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(value));
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
