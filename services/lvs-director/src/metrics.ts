// Counters of each service and server as OpenTelemetry metrics. They are read when somebody collects, never between; with
// the API's no-op meter that is never. [OpenTelemetry: asynchronous instruments; semantic conventions: network.io.direction]
import type { BatchObservableResult, Meter } from '@opentelemetry/api';
import type { DataPlane } from './ports.ts';

/** Returns what ends it. */
export function observeDataPlane(meter: Meter, plane: DataPlane): () => void {
  const connections = meter.createObservableGauge('ssi.lvs.connections', {
    description: 'Connections that a server has, of one service; state: active, inactive',
    unit: '{connection}',
  });
  const begun = meter.createObservableCounter('ssi.lvs.connections.begun', {
    description: 'Connections begun since the server was added',
    unit: '{connection}',
  });
  const bytes = meter.createObservableCounter('ssi.lvs.io', { unit: 'By' });
  const packets = meter.createObservableCounter('ssi.lvs.packets', { unit: '{packet}' });
  const all = [connections, begun, bytes, packets];

  async function observe(result: BatchObservableResult): Promise<void> {
    const [counts, traffic] = await Promise.all([plane.connections(), plane.traffic()]);
    if (counts.ok)
      for (const [link, now] of counts.value)
        for (const state of ['active', 'inactive'] as const)
          result.observe(connections, now[state], { ...attributesOf(link), state });
    if (!traffic.ok) return;
    for (const [link, total] of traffic.value) {
      const about = attributesOf(link);
      const [received, sent] = ['receive', 'transmit'].map((direction) => ({
        ...{ ...about, 'network.io.direction': direction },
      }));
      result.observe(begun, total.connections, about);
      result.observe(bytes, total.inBytes, received);
      result.observe(bytes, total.outBytes, sent);
      result.observe(packets, total.inPackets, received);
      result.observe(packets, total.outPackets, sent);
    }
  }
  meter.addBatchObservableCallback(observe, all);
  return () => meter.removeBatchObservableCallback(observe, all);
}

/** `-t 10.9.0.1:80 10.1.0.1:8080`, as `linkKey` writes it. */
function attributesOf(link: string): Record<string, string> {
  const at = link.lastIndexOf(' ');
  return { 'ssi.lvs.service': link.slice(0, at), 'ssi.lvs.server': link.slice(at + 1) };
}
