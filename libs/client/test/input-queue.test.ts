import { inputQueue } from '@ssi/client';
import { attachChunkMax, attachWindow } from '@ssi/contracts';
import { expect, test } from 'vitest';

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(65);

test('input queue: nothing is taken before the first connection told where the log ends', () => {
  const queue = inputQueue();
  queue.push(bytes(3));
  expect(queue.take()).toBeUndefined();
  expect(queue.resume(100)).toBe(true);
  expect(queue.take()).toEqual({ offset: 100, bytes: bytes(3) });
  expect(queue.take()).toBeUndefined();
});

test('input queue: full at the window, room again when the node promised bytes', () => {
  const queue = inputQueue();
  queue.resume(0);
  expect(queue.push(bytes(attachWindow - 1))).toBe(true);
  expect(queue.push(bytes(1))).toBe(false);
  expect(queue.isFull).toBe(true);
  queue.acked(10);
  expect(queue.isFull).toBe(false);
});

test('input queue: a new connection sends what was not promised again, in pieces of one message', () => {
  const queue = inputQueue();
  queue.resume(0);
  queue.push(bytes(attachChunkMax + 5));
  while (queue.take());
  queue.resume(attachChunkMax - 2);
  expect(queue.take()).toMatchObject({ offset: attachChunkMax - 2, bytes: bytes(2) });
  expect(queue.take()).toMatchObject({ offset: attachChunkMax, bytes: bytes(5) });
  expect(queue.take()).toBeUndefined();
});

test('input queue: the end is told once for each connection, behind every byte', () => {
  const queue = inputQueue();
  queue.resume(0);
  queue.push(bytes(2));
  queue.finish();
  expect(queue.takeEnd()).toBeUndefined();
  queue.take();
  expect(queue.takeEnd()).toBe(2);
  expect(queue.takeEnd()).toBeUndefined();
  queue.resume(2);
  expect(queue.takeEnd()).toBe(2);
  expect(queue.isIdle).toBe(true);
});

test('input queue: a log longer than what was ever sent is somebody else writing', () => {
  const queue = inputQueue();
  queue.resume(5);
  queue.push(bytes(2));
  expect(queue.resume(8)).toBe(false);
});
