// Which of the ways to one server is taken, by what their hellos took.
import type { TransportName } from '@ssi/contracts';
import { expect, test } from 'vitest';
import { Paths } from '../src/path.ts';
import type { Transport } from '../src/transport.ts';

const way = (name: TransportName, guessMs: number) =>
  ({
    name,
    guessMs,
    mayDuplicate: false,
    ready: () => true,
    absent: () => false,
  }) as unknown as Transport;
const pathsOf = (): Paths => new Paths([way('tcp', 0.05), way('nats', 0.4)], 1, 'echo', 0);
/** Hellos that asked both ways at the same moment. */
const greet = (
  paths: Paths,
  ...rounds: readonly (readonly [tcpMs: number, natsMs: number])[]
): void => {
  for (const [tcpMs, natsMs] of rounds) {
    paths.greeted('tcp', tcpMs);
    paths.greeted('nats', natsMs);
  }
};
const taken = (paths: Paths): TransportName | undefined => paths.choose(0)?.transport.name;

test('ICS: path: slow hellos of a busy moment do not move the traffic off the faster way', () => {
  const paths = pathsOf();
  expect(taken(paths)).toBe('tcp');
  greet(paths, [30, 12], [8, 3]);
  expect(taken(paths)).toBe('tcp');
  greet(paths, [0.1, 0.5], [9, 2], [7, 1], [40, 20]);
  expect(taken(paths)).toBe('tcp');
});

test('ICS: path: a way that is clearly faster is taken once it was measured, and given up when it is slower for good', () => {
  const paths = pathsOf();
  greet(paths, [5, 1], [5, 1], [5, 1]);
  expect(taken(paths)).toBe('nats');
  // Not clearly: it stays.
  greet(paths, [0.8, 1], [0.8, 1], [0.8, 1], [0.8, 1]);
  expect(taken(paths)).toBe('nats');
  greet(paths, [0.1, 1]);
  expect(taken(paths)).toBe('tcp');
});

test('ICS: path: a suspect way is left at once, however fast it was', () => {
  const paths = pathsOf();
  greet(paths, [0.1, 1], [0.1, 1], [0.1, 1]);
  expect(taken(paths)).toBe('tcp');
  paths.broke('tcp');
  expect(taken(paths)).toBe('nats');
  paths.heard('tcp', 1);
  expect(taken(paths)).toBe('tcp');
});
