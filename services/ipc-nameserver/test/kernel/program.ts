// Programs of calls for the kernel and for our objects: words of one line each, as kernel.c reads them.
import fc from 'fast-check';

export const workers = 3;
export interface Step {
  readonly worker: number;
  readonly op: string;
  readonly args: readonly number[];
}
export interface Program {
  readonly nsems: number;
  readonly maxMessages: number;
  readonly messageBytes: number;
  readonly steps: readonly Step[];
}

const bit = fc.integer({ min: 0, max: 1 });
/** Mostly not: a call that waits is the interesting one. */
const seldom = fc.integer({ min: 0, max: 3 }).map((n) => (n === 0 ? 1 : 0));
const seed = fc.integer({ min: 0, max: 250 });
const of = (...values: number[]): fc.Arbitrary<number> => fc.constantFrom(...values);

type Words = fc.Arbitrary<{ op: string; args: number[] }>;
const call = (op: string, ...args: fc.Arbitrary<number>[]): Words =>
  fc.tuple(...args).map((a) => ({ op, args: a }));

const messages: Words = fc.oneof(
  {
    weight: 6,
    arbitrary: call(
      'msgsnd',
      of(1, 2, 3, 4, 0),
      of(0, 1, 7, 100, 8_000, 8_192, 8_193),
      seed,
      seldom,
    ),
  },
  {
    weight: 6,
    arbitrary: call(
      'msgrcv',
      of(0, 50, 8_192, -1),
      of(0, 0, 1, 2, 3, -1, -2, -3, -9),
      seldom,
      bit,
      seldom,
    ),
  },
  { weight: 1, arbitrary: call('msgset', of(0, 100, 8_200, 16_384)) },
);

const semOps: Words = fc
  .array(
    fc.tuple(
      of(0, 1, 2, 2, 3),
      of(-2, -1, -1, 0, 0, 1, 1, 2, 20_000, -32_768, 32_767),
      seldom,
      bit,
    ),
    {
      minLength: 0,
      maxLength: 4,
    },
  )
  .map((ops) => ({ op: 'semop', args: [ops.length, ...ops.flat()] }));
const semaphores: Words = fc.oneof(
  { weight: 12, arbitrary: semOps },
  { weight: 2, arbitrary: call('getall') },
  { weight: 1, arbitrary: call('getval', of(0, 1, 3)) },
  { weight: 1, arbitrary: call('getncnt', of(0, 1, 2, 3)) },
  { weight: 1, arbitrary: call('getzcnt', of(0, 1, 2, 3)) },
  { weight: 1, arbitrary: call('setval', of(0, 1, 2, 3), of(0, 1, 2, 32_767, 32_768, -1)) },
  { weight: 1, arbitrary: call('setall', of(0, 1, 2), of(0, 1, 40_000), of(0, 3)) },
);

const queues: Words = fc.oneof(
  { weight: 3, arbitrary: call('mqopen', of(0, 1), bit, bit, seldom) },
  {
    weight: 5,
    arbitrary: call(
      'mqsend',
      of(0, 1),
      of(0, 1, 31, 32, 33),
      seed,
      of(0, 1, 2, 31, 32_767, 32_768),
    ),
  },
  { weight: 5, arbitrary: call('mqrecv', of(0, 1), of(31, 32, 100)) },
  { weight: 1, arbitrary: call('mqnotify', of(0, 1), bit) },
  { weight: 1, arbitrary: call('close', of(0, 1)) },
);

const fifos: Words = fc.oneof(
  { weight: 4, arbitrary: call('open', of(4, 5), bit, bit, seldom) },
  { weight: 6, arbitrary: call('read', of(4, 5), of(0, 1, 100, 4_096, 5_000, 65_536, 200_000)) },
  {
    weight: 6,
    arbitrary: call(
      'write',
      of(4, 5),
      of(0, 1, 100, 3_000, 4_095, 4_096, 4_097, 10_000, 65_536, 65_537, 200_000),
      seed,
    ),
  },
  { weight: 2, arbitrary: call('close', of(4, 5)) },
);

const rare: Words = fc.oneof(call('exit'), call('cancel'), call('cancel'));
const removing: Record<string, Words> = { messages: call('msgrm'), semaphores: call('semrm') };

export const kinds = { messages, semaphores, queues, fifos } as const;
export type Kind = keyof typeof kinds;

export const program = (kind: Kind): fc.Arbitrary<Program> => {
  const gone = removing[kind];
  const words = fc.oneof(
    { weight: 20, arbitrary: kinds[kind] },
    { weight: 2, arbitrary: rare },
    ...(gone ? [{ weight: 1, arbitrary: gone }] : []),
  );
  const step = fc
    .tuple(fc.integer({ min: 0, max: workers - 1 }), words)
    .map(([worker, w]) => ({ worker, ...w }));
  return fc.record({
    nsems: fc.constant(3),
    maxMessages: of(1, 2, 3),
    messageBytes: fc.constant(32),
    steps: fc.array(step, { minLength: 1, maxLength: 40 }),
  });
};

/** As kernel.c makes it. */
export const content = (length: number, from: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => from * 31 + i * 7 + (i >> 8));

export function hash(bytes: Uint8Array): number {
  let h = 2_166_136_261;
  for (const b of bytes) h = Math.imul(h ^ b, 16_777_619);
  return h >>> 0;
}
