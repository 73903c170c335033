// The images as vproc reads and mends them, made here byte by byte from the fields of criu's *.proto.
import { describe, expect, test } from 'vitest';
import { mendCall } from '../src/adapters/criu-calls.ts';
import {
  type Field,
  mendForeground,
  parseEntries,
  parseFields,
  pipesBothWays,
  readPipeData,
  writeFields,
} from '../src/adapters/criu-image.ts';
import { childrenIn, isAlive, mendStops } from '../src/adapters/criu-signals.ts';

const number = (field: number, value: number): Field => ({
  ...{ number: field, wire: 0, value: BigInt(value), bytes: new Uint8Array() },
});
const message = (field: number, fields: readonly Field[]): Field => ({
  ...{ number: field, wire: 2, value: 0n, bytes: writeFields(fields) },
});
const entry = (fields: readonly Field[], after: Uint8Array = new Uint8Array()): Uint8Array => {
  const body = writeFields(fields);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body, after]);
};
const image = (...entries: readonly Uint8Array[]): Uint8Array =>
  Buffer.concat([Buffer.from('magic...'), ...entries]);

const process = (pid: number, pgid: number, sid: number): Uint8Array =>
  entry([number(1, pid), number(2, 1), number(3, pgid), number(4, sid), number(5, pid)]);
const terminal = (sid: number, pgrp: number): Uint8Array =>
  entry([number(1, 9), number(6, sid), number(7, pgrp), number(8, 34817)]);
const pipe = (pipeId: number, flags: number): Uint8Array =>
  entry([
    number(1, 2),
    number(2, 77),
    message(18, [number(1, 77), number(2, pipeId), number(3, flags)]),
  ]);

describe('vproc: criu images', () => {
  const tree = image(process(100, 100, 100), process(101, 101, 100));

  test('a terminal whose foreground group is dead goes to its session; others stay', () => {
    const mended = mendForeground(image(terminal(100, 555), terminal(100, 101)), tree);
    const groups = parseEntries(mended ?? new Uint8Array(8)).map((bytes) =>
      parseFields(bytes).map((field) => [field.number, Number(field.value)]),
    );
    expect(groups).toEqual([
      [
        [1, 9],
        [6, 100],
        [7, 100],
        [8, 34817],
      ],
      [
        [1, 9],
        [6, 100],
        [7, 101],
        [8, 34817],
      ],
    ]);
  });
  test('a terminal with a living foreground group, none, or a foreign session is left alone', () => {
    for (const one of [terminal(100, 101), terminal(100, 0), terminal(7, 8)])
      expect(mendForeground(image(one), tree)).toBeUndefined();
  });

  test('a sleep that the freeze interrupted sleeps what is left; other interrupted calls are theirs', () => {
    const interrupted = BigInt.asUintN(64, -4n);
    const core = (call: number, ax: bigint, rest: number) =>
      image(
        entry([
          number(1, 1),
          message(2, [
            number(1, 7),
            message(2, [
              number(8, rest),
              ...[{ ...number(11, 0), value: ax }, number(13, 500), number(14, rest)],
              ...[number(15, 0), number(16, call), number(17, 0x1002), number(18, 0x33)],
            ]),
          ]),
        ]),
      );
    const registers = (bytes: Uint8Array) => {
      const [whole] = parseEntries(bytes);
      const info = parseFields(
        parseFields(whole ?? new Uint8Array())[1]?.bytes ?? new Uint8Array(),
      );
      const fields = parseFields(info[1]?.bytes ?? new Uint8Array());
      return Object.fromEntries(fields.map((field) => [field.number, Number(field.value)]));
    };
    const [poll, epollWait, clockNanosleep] = [7, 232, 230];
    const mended = (call: number, rest: number) =>
      registers(mendCall(core(call, interrupted, rest)) ?? core(call, interrupted, rest));
    expect(mended(clockNanosleep, 600)).toMatchObject({ 11: 230, 13: 600, 17: 0x1000 });
    expect(mended(clockNanosleep, 0)).toMatchObject({ 11: 230, 13: 500, 17: 0x1000 });
    expect(mended(poll, 600)).toMatchObject({ 11: 7, 13: 500, 14: 600, 17: 0x1000 });
    expect(mendCall(core(epollWait, interrupted, 0))).toBeUndefined();
    expect(mendCall(core(poll, 0n, 0))).toBeUndefined();
  });

  test('a parent that reads SIGCHLD has waiting that its child was continued, so the stop is not queued', () => {
    const [SIGTERM, SIGCHLD, SIGCONT] = [15, 17, 18];
    const waitingIn = (bytes: Uint8Array) => {
      const tc = parseFields(parseEntries(bytes)[0] ?? new Uint8Array())[1]?.bytes;
      const queue = parseFields(tc ?? new Uint8Array()).find((f) => f.number === 10);
      return parseFields(queue?.bytes ?? new Uint8Array()).map((signal) => {
        const raw = Buffer.from(parseFields(signal.bytes)[0]?.bytes ?? []);
        return [0, 8, 16, 24].map((at) => raw.readInt32LE(at));
      });
    };
    const signal = (number_: number): Field => {
      const raw = Buffer.alloc(128);
      raw.writeInt32LE(number_);
      return message(1, [{ number: 1, wire: 2, value: 0n, bytes: raw }]);
    };
    const core = (blocked: number, ...waiting: Field[]) =>
      image(
        entry([
          number(1, 1),
          message(3, [number(1, 1), number(5, blocked), number(6, 0), message(10, waiting)]),
        ]),
      );
    const blocked = 1 << (SIGCHLD - 1);
    const told = [SIGCHLD, 6, 101, SIGCONT];
    expect(waitingIn(mendStops(core(blocked), 101) ?? new Uint8Array(8))).toEqual([told]);
    const mended = mendStops(core(blocked, signal(SIGTERM)), 101) ?? new Uint8Array(8);
    expect(waitingIn(mended)).toEqual([[SIGTERM, 0, 0, 0], told]);
    expect(mendStops(core(blocked, signal(SIGCHLD)), 101)).toBeUndefined();
    expect(mendStops(core(0), 101)).toBeUndefined();
    const dead = image(entry([number(1, 1), message(3, [number(1, 2)])]));
    expect([isAlive(core(0)), isAlive(dead), isAlive(undefined)]).toEqual([true, false, false]);
    const family = [process(100, 100, 100), entry([number(1, 101), number(2, 100)])];
    expect(childrenIn(image(...family)).get(100)).toEqual([101]);
  });

  test('pipes open both ways are found, each once', () => {
    const [readOnly, writeOnly, both] = [0, 1, 2];
    const files = [pipe(30, both), pipe(20, both), pipe(30, both), pipe(1, readOnly)];
    expect(pipesBothWays(image(...files, pipe(2, writeOnly)))).toEqual([20, 30]);
  });
  test('what waits in pipes is read by pipe; a cut image is no image', () => {
    const bytes = Buffer.from('waiting');
    const whole = image(
      entry([number(1, 20), number(2, bytes.length), number(3, 4096)], bytes),
      entry([number(1, 30), number(2, 0)]),
    );
    const found = readPipeData(whole);
    expect(Buffer.from(found.get(20)?.data ?? []).toString()).toBe('waiting');
    expect(found.get(20)?.sizeBytes).toBe(4096);
    expect(found.get(30)?.data).toHaveLength(0);
    expect(() => readPipeData(whole.subarray(0, whole.length - 2))).toThrow(RangeError);
  });
});
