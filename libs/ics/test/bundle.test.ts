// Frames that travel together: what goes in comes out, within bounds, and what is cut short is no frame.
import { expect, test } from 'vitest';
import { Bundle, tagsOf, unbundle } from '../src/bundle.nats.ts';

interface Sent {
  readonly message: Uint8Array;
  readonly tags: string;
}

function bundle(): { sent: Sent[]; bundle: Bundle } {
  const sent: Sent[] = [];
  return { sent, bundle: new Bundle((message, tags) => void sent.push({ message, tags })) };
}

function opened(message: Uint8Array): number[][] {
  const frames: number[][] = [];
  unbundle(message, (f) => void frames.push([...f]));
  return frames;
}

test('ICS: bundle: frames of one turn are one message with all tags, in order, empty ones too', async () => {
  const { sent, bundle: b } = bundle();
  const frames = [[1, 2, 3], [], [0xc1, 7]];
  for (const [i, f] of frames.entries()) b.add(Uint8Array.from(f), `1_${i}_0`);
  expect(sent).toEqual([]);
  await Promise.resolve();
  expect(sent).toHaveLength(1);
  expect(opened(sent[0]?.message ?? new Uint8Array())).toEqual(frames);
  expect(tagsOf(sent[0]?.tags ?? '')).toEqual(['1_0_0', '1_1_0', '1_2_0']);
});

test('ICS: bundle: one frame alone travels as it is, unless it looks like a bundle', async () => {
  for (const [frame, bytes] of [
    [[5, 6], 2],
    [[], 0],
    [[0xc1, 6], 7],
  ] as const) {
    const { sent, bundle: b } = bundle();
    b.add(Uint8Array.from(frame), 't');
    await Promise.resolve();
    expect(sent.map((s) => s.message.length)).toEqual([bytes]);
    expect(opened(sent[0]?.message ?? new Uint8Array())).toEqual([frame]);
  }
});

test('ICS: bundle: it leaves before it is too long in frames, bytes or tags', async () => {
  for (const [count, size, tag] of [
    [200, 10, 't'],
    [10, 20_000, 't'],
    [3, 512 * 1024, 't'],
    [40, 1, 'x'.repeat(100)],
  ] as const) {
    const { sent, bundle: b } = bundle();
    for (let i = 0; i < count; i++) b.add(new Uint8Array(size).fill(i), tag);
    await Promise.resolve();
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.flatMap((s) => opened(s.message)).map((f) => f[0])).toEqual(
      Array.from({ length: count }, (_, i) => i),
    );
    for (const { message, tags } of sent) {
      expect(message.length).toBeLessThanOrEqual(Math.max(64 * 1024, size + 5));
      expect(opened(message).length).toBeLessThanOrEqual(64);
      expect(tags.length).toBeLessThan(3_000);
    }
  }
});

test('ICS: bundle: one that is cut short anywhere ends, with the frames that are whole', async () => {
  const { sent, bundle: b } = bundle();
  b.add(Uint8Array.from([1, 1]));
  b.add(Uint8Array.from([2, 2, 2]));
  await Promise.resolve();
  const whole = sent[0]?.message ?? new Uint8Array();
  for (let cut = 1; cut < whole.length; cut++) {
    const frames = opened(whole.subarray(0, cut));
    expect(frames.length).toBeLessThanOrEqual(2);
    if (cut >= 7) expect(frames[0]).toEqual([1, 1]);
  }
  // A length that no message has.
  expect(opened(Uint8Array.from([0xc1, 255, 255, 255, 255, 9]))).toHaveLength(1);
});
