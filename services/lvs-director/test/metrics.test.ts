// Counters as OpenTelemetry's SDK collects them.

import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { ok } from '@ssi/contracts';
import { expect, test } from 'vitest';
import { type DataPlane, observeDataPlane } from '../src/index.ts';

class Asked extends MetricReader {
  protected override onForceFlush = (): Promise<void> => Promise.resolve();
  protected override onShutdown = (): Promise<void> => Promise.resolve();
}

test('LVS: metrics: connections and traffic of each server, by service', async () => {
  const link = '-t 10.9.0.1:80 10.1.0.1:8080';
  const total = { connections: 5, inPackets: 50, outPackets: 40, inBytes: 500, outBytes: 4_000 };
  const plane: DataPlane = {
    apply: async () => ok(),
    clear: async () => ok(),
    connections: async () => ok(new Map([[link, { active: 2, inactive: 3 }]])),
    traffic: async () => ok(new Map([[link, total]])),
  };
  const reader = new Asked();
  const provider = new MeterProvider({ readers: [reader] });
  const stop = observeDataPlane(provider.getMeter('test'), plane);
  const collect = async (): Promise<string[]> =>
    (await reader.collect()).resourceMetrics.scopeMetrics
      .flatMap((scope) => scope.metrics)
      .flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ value, attributes }) => {
          const { 'ssi.lvs.service': service, 'ssi.lvs.server': server, ...more } = attributes;
          expect(`${service} ${server}`).toBe(link);
          return [descriptor.name, ...Object.values(more), value].join(' ');
        }),
      );
  expect((await collect()).sort()).toEqual([
    'ssi.lvs.connections active 2',
    'ssi.lvs.connections inactive 3',
    'ssi.lvs.connections.begun 5',
    'ssi.lvs.io receive 500',
    'ssi.lvs.io transmit 4000',
    'ssi.lvs.packets receive 50',
    'ssi.lvs.packets transmit 40',
  ]);
  stop();
  await provider.shutdown();
});
